import type { IncomingHttpHeaders } from 'node:http';
import { CarnetError } from '../errors.ts';

/** A cookie of ours (RFC 6265bis), which scripts never see. */
export interface Cookie {
  /** Without its prefix. */
  readonly name: string;
  readonly sameSite: 'Strict' | 'Lax';
  readonly maxAgeSeconds: number;
}

/**
 * Its name as the browser has it. `__Host-` (§4.1.3.2) lets no other host, and nobody on a plain connection, set one
 * that we would take for ours.
 */
function cookieName({ name }: Cookie, isSecure: boolean): string {
  return isSecure ? `__Host-${name}` : name;
}

/** The value of Set-Cookie. */
export function formatCookie(cookie: Cookie, value: string, isSecure: boolean): string {
  return [
    `${cookieName(cookie, isSecure)}=${value}`,
    'Path=/',
    `Max-Age=${value === '' ? 0 : cookie.maxAgeSeconds}`,
    'HttpOnly',
    `SameSite=${cookie.sameSite}`,
    ...(isSecure ? ['Secure'] : []),
  ].join('; ');
}

/**
 * Its value in a request; undefined for none. Throws `unauthenticated` when there are two: one was put beside ours,
 * and which one that is nobody can tell.
 */
export function readCookie(
  headers: IncomingHttpHeaders,
  cookie: Cookie,
  isSecure: boolean,
): string | undefined {
  const prefix = `${cookieName(cookie, isSecure)}=`;
  const values = (headers.cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(prefix))
    .map((pair) => pair.slice(prefix.length));
  if (values.length > 1)
    throw new CarnetError(
      'unauthenticated',
      `there are ${values.length} cookies named ${prefix.slice(0, -1)}: clear the cookies of this site, and sign in again`,
    );
  return values[0];
}
