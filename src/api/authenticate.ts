import { timingSafeEqual } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { CarnetError, isRetryable } from '../errors.ts';
import type { Role, Token, TokenStore } from './token.ts';
import { hashToken, isTokenText } from './token-text.ts';

/** How long a token that was looked up is taken as it was: a revocation by another replica waits at most this long. */
const FRESH_MS = 5000;
/**
 * How long after its last look-up a token may still read while Postgres is away. Nothing can be revoked then
 * (revocations are rows), except by a replica that still reaches a Postgres which we don't: hence an end.
 */
const OUTAGE_GRACE_MS = 15 * 60_000;
/** Tokens remembered; the one remembered longest goes first. */
const MAX_REMEMBERED = 256;

interface Remembered {
  readonly sha256: Uint8Array;
  readonly token: Token;
  readonly lookedUpAt: number;
  readonly askAgainAt: number;
}

/** Knows the bearer of a token (RFC 6750 §2.1) by its hash in the store. */
export class Authenticator {
  readonly #store: TokenStore;
  readonly #clock: Clock;
  #remembered: Remembered[] = [];

  constructor(store: TokenStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /**
   * The usable token of an Authorization header. Throws `unauthenticated`, or `database_unavailable` when the
   * store can't be asked. A call that only reads (`reading`) is let through such an outage for a while, so
   * that an operator sees what proxies hold just then.
   */
  async authenticate(header: string | undefined, reading: boolean): Promise<Token> {
    const token = await this.#find(hashToken(textOf(header)), reading);
    if (token === undefined)
      throw new CarnetError(
        'unauthenticated',
        'this token is not known here: was it made by another server?',
      );
    if (token.revokedAt !== null)
      throw new CarnetError(
        'unauthenticated',
        `the token ${token.name} was revoked at ${token.revokedAt.toISOString()}`,
      );
    if (token.expiresAt !== null && token.expiresAt.getTime() <= this.#clock())
      throw new CarnetError(
        'unauthenticated',
        `the token ${token.name} expired at ${token.expiresAt.toISOString()}: have a new one made with carnet token create`,
      );
    return token;
  }

  /** Makes a revocation by this replica count at once. */
  forget(tokenId: string): void {
    this.#remembered = this.#remembered.filter(({ token }) => token.id !== tokenId);
  }

  async #find(sha256: Uint8Array, reading: boolean): Promise<Token | undefined> {
    const now = this.#clock();
    // Compared in constant time, though a caller can't steer the hash of what it sends.
    const known = this.#remembered.find((one) => timingSafeEqual(one.sha256, sha256));
    if (known !== undefined && now < known.askAgainAt && (reading || isFresh(known, now))) return known.token;
    try {
      const token = await this.#store.find(sha256);
      this.#remember(sha256, token, now);
      return token;
    } catch (error) {
      const inGrace = known !== undefined && now - known.lookedUpAt < OUTAGE_GRACE_MS;
      if (!reading || !inGrace || !isRetryable(error)) throw error;
      this.#replace({ ...known, askAgainAt: now + FRESH_MS });
      return known.token;
    }
  }

  #remember(sha256: Uint8Array, token: Token | undefined, now: number): void {
    if (token === undefined) this.#remembered = this.#remembered.filter((one) => !isOf(one, sha256));
    else this.#replace({ sha256, token, lookedUpAt: now, askAgainAt: now + FRESH_MS });
  }

  #replace(one: Remembered): void {
    const others = this.#remembered.filter((other) => !isOf(other, one.sha256));
    this.#remembered = [...others, one].slice(-MAX_REMEMBERED);
  }
}

/** Throws `permission_denied` unless the token's role covers `needed`: admin covers auditor. */
export function authorize(token: Token, needed: Role): void {
  if (needed === 'admin' && token.role !== 'admin')
    throw new CarnetError(
      'permission_denied',
      `the token ${token.name} has the role ${token.role}, which reads only: this needs an admin token`,
    );
}

/** Who did it, as operator events and logs name the bearer. */
export function actorOf(token: Token): string {
  return `operator:${token.name}`;
}

function isFresh(one: Remembered, now: number): boolean {
  return now - one.lookedUpAt < FRESH_MS;
}

function isOf(one: Remembered, sha256: Uint8Array): boolean {
  return timingSafeEqual(one.sha256, sha256);
}

function textOf(header: string | undefined): string {
  if (header === undefined)
    throw new CarnetError(
      'unauthenticated',
      'this needs a token: send it as "Authorization: Bearer <token>" (the first one is in <data-dir>/admin.token)',
    );
  const text = /^Bearer +(\S+) *$/i.exec(header)?.[1] ?? '';
  if (!isTokenText(text))
    throw new CarnetError(
      'unauthenticated',
      'the Authorization header must read "Bearer <token>", with a token that begins with carnet_',
    );
  return text;
}
