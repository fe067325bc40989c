import { timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { type Cookie, formatCookie, readCookie } from './cookie.ts';
import { Known } from './known.ts';
import type { OwnOrigin } from './own-origin.ts';
import {
  csrfOf,
  hashSecret,
  isSecret,
  SESSION_IDLE_SECONDS,
  SESSION_SECONDS,
  type Session,
  type SessionStore,
} from './session.ts';

/** Less often than this a use is not worth a write. */
const NOTED_EVERY_MS = 60_000;
export const CSRF_HEADER = 'carnet-csrf';
const COOKIE: Cookie = { name: 'carnet-session', sameSite: 'Strict', maxAgeSeconds: SESSION_SECONDS };

/** Knows a browser by the cookie of its session. */
export class SessionAuthenticator {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly #origin: OwnOrigin;
  readonly #known: Known<Session>;

  constructor(store: SessionStore, origin: OwnOrigin, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#origin = origin;
    this.#known = new Known((sha256) => this.#lookUp(sha256), clock);
  }

  /** The secret in the cookie; undefined for none. Throws `unauthenticated` for two. */
  secretOf(headers: IncomingHttpHeaders): string | undefined {
    return readCookie(headers, COOKIE, this.#origin.isSecure);
  }

  /** Set-Cookie of a new session's secret; of '' to take the cookie away. */
  cookie(secret: string): string {
    return formatCookie(COOKIE, secret, this.#origin.isSecure);
  }

  /**
   * The session of a cookie. An unsafe request must come from a page of ours, and show the session's CSRF token.
   * Throws `unauthenticated`, `permission_denied`, or what the store throws.
   */
  async authenticate(secret: string, headers: IncomingHttpHeaders, isUnsafe: boolean): Promise<Session> {
    this.#origin.checkSource(headers, isUnsafe);
    const session = isSecret(secret) ? await this.#known.find(hashSecret(secret), !isUnsafe) : undefined;
    if (session === undefined || this.#hasEnded(session))
      throw new CarnetError('unauthenticated', 'the session has ended: sign in again');
    if (isUnsafe) checkCsrf(headers[CSRF_HEADER], csrfOf(secret));
    return session;
  }

  /** Makes ends that this replica knows of count at once. */
  forget(hasEnded: (session: Session) => boolean): void {
    this.#known.forget(hasEnded);
  }

  async #lookUp(sha256: Uint8Array): Promise<Session | undefined> {
    const session = await this.#store.find(sha256);
    // One that has ended must not come back to life by being asked for.
    if (session === undefined || this.#hasEnded(session)) return undefined;
    const now = this.#clock();
    if (now - session.lastUsedAt.getTime() < NOTED_EVERY_MS) return session;
    await this.#store.used(session.id, new Date(now));
    return { ...session, lastUsedAt: new Date(now) };
  }

  #hasEnded({ expiresAt, lastUsedAt }: Session): boolean {
    const now = this.#clock();
    return expiresAt.getTime() <= now || lastUsedAt.getTime() + SESSION_IDLE_SECONDS * 1000 <= now;
  }
}

function checkCsrf(given: string | string[] | undefined, expected: string): void {
  const bytes = Buffer.from(typeof given === 'string' ? given : '', 'utf8');
  const wanted = Buffer.from(expected, 'utf8');
  if (bytes.length !== wanted.length || !timingSafeEqual(bytes, wanted))
    throw new CarnetError(
      'permission_denied',
      'what changes something needs, in a session, the header Carnet-CSRF with the csrf of GET /v1/session',
    );
}
