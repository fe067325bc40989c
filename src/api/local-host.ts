import { isIP } from 'node:net';

/**
 * Whether a Host header (RFC 9110 §7.2) can only mean this machine: `localhost`, or an address. A page from
 * elsewhere can let its own name point to 127.0.0.1 and then read what a loopback listener tells without a
 * token (DNS rebinding), but it can't name an address or `localhost` as its origin. No header, no browser.
 */
export function isLocalHost(host: string | undefined): boolean {
  if (host === undefined) return true;
  const name = host.replace(/:\d*$/, '').toLowerCase();
  if (name.startsWith('[') && name.endsWith(']')) return isIP(name.slice(1, -1)) === 6;
  return isIP(name) === 4 || name === 'localhost' || name.endsWith('.localhost');
}

/** Whether an address to listen on is reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
