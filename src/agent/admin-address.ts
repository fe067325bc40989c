/** Where an Envoy's admin interface is: on loopback, or on a Unix socket. Nothing else is ever connected to. */
export type AdminAddress =
  | { readonly kind: 'tcp'; readonly host: '127.0.0.1' | '::1'; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** sockaddr_un has 108 bytes, the last of them 0. */
const MAX_PATH_BYTES = 107;

/** Parses `127.0.0.1:PORT`, `[::1]:PORT`, `localhost:PORT` or an absolute path. Null for anything else. */
export function parseAdminAddress(text: string): AdminAddress | null {
  if (text.startsWith('/')) {
    const isPath = !text.includes('\0') && Buffer.byteLength(text) <= MAX_PATH_BYTES;
    return isPath ? { kind: 'unix', path: text } : null;
  }
  const [, host, digits] = /^(127\.0\.0\.1|\[::1\]|localhost):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535) return null;
  return { kind: 'tcp', host: host === '[::1]' ? '::1' : '127.0.0.1', port };
}
