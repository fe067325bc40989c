import { resolve } from 'node:path';
import { validate as validateCron } from 'node-cron';
import type { Lifetime } from './ca/profile.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { CarnetError } from './errors.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';
import { dnsNameFault } from './policy/dns-name.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `auto`, `off`, or a cron expression. */
export type RotationSchedule = string;

export function pathOf(value: string): string {
  if (value === '') throw new CarnetError('config_invalid', 'the path is empty');
  return resolve(value);
}

/** The value may hold a password: it is never repeated. */
export function databaseUrlOf(value: string): string {
  if (!/^postgres(?:ql)?:\/\//.test(value))
    throw new CarnetError(
      'config_invalid',
      'it is no URL of a Postgres: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE',
    );
  return value;
}

/** Goes into each certificate, before some 30 characters more. */
const MAX_PUBLIC_URL = 200;

/**
 * Parses the URL under which verifiers find CRLs, without a slash at its end. Plain HTTP: to fetch a CRL by TLS they
 * would have to verify another certificate first (RFC 5280 §8).
 */
export function publicUrlOf(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null;
  const isPlain =
    url?.protocol === 'http:' && url.hostname !== '' && url.username === '' && url.password === '';
  if (!isPlain || /[?#\s]/.test(value) || url.href.length > MAX_PUBLIC_URL)
    throw new CarnetError(
      'config_invalid',
      `${JSON.stringify(value)} is not where CRLs can be: write http://HOST[:PORT][/PATH], at most ${MAX_PUBLIC_URL} characters`,
    );
  return url.href.replace(/\/+$/, '');
}

/** Whether a URL's host is this machine, so that what is said to it crosses no network. */
export function isOwnMachine(hostname: string): boolean {
  return /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}

/**
 * Parses the origin that browsers reach the server by, without a slash at its end: https, so that a session's cookie
 * is read by nobody on the way, or http on this machine.
 */
export function webUrlOf(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null;
  const isPrivate = url?.protocol === 'https:' || (url?.protocol === 'http:' && isOwnMachine(url.hostname));
  if (url === null || !isPrivate || url.href !== `${url.origin}/`)
    throw new CarnetError(
      'config_invalid',
      `${JSON.stringify(value)} is not where browsers can sign in: write https://HOST[:PORT], without a path`,
    );
  return url.origin;
}

export function lifetimeIn({ minSeconds, maxSeconds }: Lifetime): (value: string) => number {
  return (value) => {
    const seconds = parseDuration(value);
    if (seconds < minSeconds || seconds > maxSeconds)
      throw new CarnetError(
        'config_invalid',
        `${value} is not from ${formatDuration(minSeconds)} to ${formatDuration(maxSeconds)}`,
      );
    return seconds;
  };
}

/** Parses `host:port` or `[ipv6]:port`. */
export function parseAddress(value: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new CarnetError(
      'config_invalid',
      `${JSON.stringify(value)} is not an address: write HOST:PORT, for example 127.0.0.1:8080`,
    );
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port };
}

/** Parses an address, or `off` to null. */
export function addressOrOffOf(value: string): Address | null {
  return value === 'off' ? null : parseAddress(value);
}

/** Parses DNS names with commas between. */
export function dnsNamesOf(value: string): string[] {
  const names = value.split(',').map((name) => name.trim());
  for (const name of names) {
    const fault = dnsNameFault(name);
    if (fault !== undefined) throw new CarnetError('config_invalid', `${JSON.stringify(name)}: ${fault}`);
  }
  return names;
}

/** Parses Kubernetes service accounts, `NAMESPACE/NAME` with commas between. */
export function serviceAccountsOf(value: string): string[] {
  const accounts = value.split(',').map((account) => account.trim());
  for (const account of accounts)
    if (!/^[a-z0-9-]{1,63}\/[a-z0-9.-]{1,253}$/.test(account))
      throw new CarnetError('config_invalid', `${JSON.stringify(account)} is not NAMESPACE/NAME`);
  return accounts;
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export function booleanOf(value: string): boolean {
  if (['true', '1', 'yes', 'on'].includes(value)) return true;
  if (['false', '0', 'no', 'off'].includes(value)) return false;
  throw new CarnetError('config_invalid', `${JSON.stringify(value)} is neither true nor false`);
}

export function rotationScheduleOf(value: string): RotationSchedule {
  if (value === 'auto' || value === 'off' || validateCron(value)) return value;
  throw new CarnetError(
    'config_invalid',
    `${JSON.stringify(value)} is neither auto, off, nor a cron expression such as "0 3 1 * *"`,
  );
}

export function slotOf(value: string): number {
  const slot = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(slot))
    throw new CarnetError('config_invalid', `${JSON.stringify(value)} is not the number of a slot`);
  return slot;
}

/** `in-cluster`, or the path of a kubeconfig. */
export function clusterOf(value: string): string {
  return value === 'in-cluster' ? value : pathOf(value);
}

/** A domain of our own and a name below it, as the API server takes it. */
export function signerNameOf(value: string): string {
  if (
    /^[a-z0-9][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*)+\/[a-z0-9][a-z0-9.-]*$/.test(value) &&
    !/kubernetes\.io\//.test(value)
  )
    return value;
  throw new CarnetError(
    'config_invalid',
    `${JSON.stringify(value)} is not a signer's name: write DOMAIN/NAME, for example carnet.local/workload`,
  );
}

export function labelSelectorOf(value: string): string {
  if (/^[a-zA-Z0-9._/=!,() -]+$/.test(value)) return value;
  throw new CarnetError(
    'config_invalid',
    `${JSON.stringify(value)} is not a label selector such as carnet/trust-bundle=enabled`,
  );
}

/**
 * The issuer of JWT-SVIDs (OpenID Connect Discovery §4.1): an https URL without a query, a fragment or a slash at its
 * end. http is taken of this machine itself, for trying it out.
 */
export function issuerOf(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null;
  const isLocal = url?.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  const { username, password, search, hash } = url ?? {};
  if (
    (url?.protocol === 'https:' || isLocal) &&
    !value.endsWith('/') &&
    value.length <= 512 &&
    [username, password, search, hash].every((part) => part === '')
  )
    return value;
  throw new CarnetError(
    'config_invalid',
    `${JSON.stringify(value)} is not an issuer: write https://HOST or https://HOST/PATH, without a slash at its end`,
  );
}

export function logLevelOf(value: string): LogLevel {
  return oneOf(LOG_LEVELS, value);
}

export function oneOf<T extends string>(choices: readonly T[], value: string): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined)
    throw new CarnetError('config_invalid', `${JSON.stringify(value)} is not one of ${choices.join(', ')}`);
  return found;
}

export function oneOfHelp(what: string, choices: readonly string[]): string {
  return `${what}: ${choices.join(', ')}`;
}
