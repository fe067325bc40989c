import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { Known } from './known.ts';
import type { Token, TokenStore } from './token.ts';
import { hashToken, isTokenText } from './token-text.ts';

/** Uses are noted at most this often for each token: what is read all the time is not written all the time. */
const NOTED_EVERY_MS = 60_000;

/** Knows the bearer of a token (RFC 6750 §2.1) by its hash in the store. */
export class Authenticator {
  readonly #store: TokenStore;
  readonly #clock: Clock;
  readonly #known: Known<Token>;

  constructor(store: TokenStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#known = new Known((sha256) => this.#lookUp(sha256), clock);
  }

  /**
   * The usable token of an Authorization header. Throws `unauthenticated`, or `database_unavailable` when the
   * store can't be asked, unless the call only reads (`reading`) and the token was known lately.
   */
  async authenticate(header: string | undefined, reading: boolean): Promise<Token> {
    const token = await this.#known.find(hashToken(textOf(header)), reading);
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
    if (this.#hasExpired(token))
      throw new CarnetError(
        'unauthenticated',
        `the token ${token.name} expired at ${token.expiresAt?.toISOString()}: have a new one made with carnet token create`,
      );
    return token;
  }

  /** Makes a revocation by this replica count at once. */
  forget(tokenId: string): void {
    this.#known.forget(({ id }) => id === tokenId);
  }

  async #lookUp(sha256: Uint8Array): Promise<Token | undefined> {
    const token = await this.#store.find(sha256);
    const now = this.#clock();
    const isUsable = token !== undefined && token.revokedAt === null && !this.#hasExpired(token);
    if (isUsable && now - (token.lastUsedAt?.getTime() ?? 0) >= NOTED_EVERY_MS)
      await this.#store.used(token.id, new Date(now));
    return token;
  }

  #hasExpired({ expiresAt }: Token): boolean {
    return expiresAt !== null && expiresAt.getTime() <= this.#clock();
  }
}

/** Who did it, as operator events and logs name the bearer. */
export function actorOf(token: Token): string {
  return `operator:${token.name}`;
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
