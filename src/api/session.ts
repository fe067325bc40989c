import { createHash, randomBytes } from 'node:crypto';
import type { Role } from './role.ts';

/** How somebody signed in. */
export const SIGN_INS = ['token', 'oidc'] as const;
export type SignIn = (typeof SIGN_INS)[number];

/** What a browser was given for its sign-in, without its secret. */
export interface Session {
  readonly id: string;
  readonly actor: string;
  readonly role: Role;
  readonly scopes: readonly string[] | null;
  readonly method: SignIn;
  /** The token that it was opened with; null for none. */
  readonly tokenId: string | null;
  readonly createdAt: Date;
  /** To the minute or so, and never later than it was. */
  readonly lastUsedAt: Date;
  /** Whatever is done with it. */
  readonly expiresAt: Date;
}

export type NewSession = Omit<Session, 'id' | 'lastUsedAt'> & {
  /** Of its secret. */
  readonly sha256: Uint8Array;
};

export interface SessionStore {
  /**
   * Opens one, with an operator event in the same transaction, which has `details` besides; the actor's oldest
   * ones end where they are too many. Throws `overloaded` when all together are, `unauthenticated` when its token has ended.
   */
  create(session: NewSession, details: Readonly<Record<string, unknown>>): Promise<Session>;
  /** By the hash of its secret; those that ended by their times too, those whose token was revoked not. */
  find(sha256: Uint8Array): Promise<Session | undefined>;
  /** Notes its use, unless one of the minute before is noted. */
  used(id: string, at: Date): Promise<void>;
  /** Those that end after `now` and were used after `usedSince`, by their beginning. */
  list(now: Date, usedSince: Date): Promise<Session[]>;
  /** Ends it, with an operator event. Answers whether there was one. */
  end(id: string, actor: string): Promise<boolean>;
}

/** However busy: who was taken from the identity provider is out by then. */
export const SESSION_SECONDS = 8 * 3600;
/** Of whom all hear, and who is to be done soon. */
export const BREAK_GLASS_SECONDS = 3600;
export const SESSION_IDLE_SECONDS = 15 * 60;

/** When a session that begins now is over, whatever is done with it. */
export function sessionEnd(role: Role, now: number): Date {
  return new Date(now + (role === 'break-glass' ? BREAK_GLASS_SECONDS : SESSION_SECONDS) * 1000);
}

const SECRET = /^[A-Za-z0-9_-]{43}$/;
const SECRET_BYTES = 32;

/** 256 random bits in base64url, new at each sign-in: what a browser brought before never becomes a session. */
export function createSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

export function isSecret(text: string): boolean {
  return SECRET.test(text);
}

/** What the store knows a session by. */
export function hashSecret(secret: string): Uint8Array {
  return derive('session', secret);
}

/**
 * What a page must show besides the cookie to change anything: derived, so that it is in no store, and one way, so
 * that it doesn't tell the cookie.
 */
export function csrfOf(secret: string): string {
  return derive('csrf', secret).toString('base64url');
}

function derive(purpose: string, secret: string): Buffer {
  return createHash('sha256').update(`carnet ${purpose}\0${secret}`, 'utf8').digest();
}
