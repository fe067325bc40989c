import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { CarnetError } from '../errors.ts';
import { type Authenticator, actorOf } from './authenticate.ts';
import type { OwnOrigin } from './own-origin.ts';
import type { Role } from './role.ts';
import type { Caller } from './route.ts';
import type { SessionAuthenticator } from './session-authenticate.ts';

/** Who is at the other end of a connection, by the client certificate that it showed. */
export interface PeerIdentity {
  /** Of our own trust domain. */
  readonly spiffeId: string;
  /** Null where the settings give it none. */
  readonly role: Role | null;
  readonly notAfter: Date;
}

/** By what is trusted and revoked now; null for a connection without a certificate. Throws `unauthenticated`. */
export type IdentifyPeer = (socket: Socket) => PeerIdentity | null;

export interface CallersOptions {
  readonly tokens: Authenticator;
  readonly sessions: SessionAuthenticator;
  readonly origin: OwnOrigin;
  readonly identifyPeer: IdentifyPeer;
}

/** Knows who makes a request: the bearer of a token, a session's browser, or a client certificate's holder. */
export class Callers {
  readonly #options: CallersOptions;

  constructor(options: CallersOptions) {
    this.#options = options;
  }

  /**
   * What was said for this request counts, before what a browser adds: a token, then a cookie, then a certificate.
   * Throws `unauthenticated`, `permission_denied`, `database_unavailable`.
   */
  async of({ headers, socket }: IncomingMessage, isUnsafe: boolean): Promise<Caller> {
    const { tokens, sessions, identifyPeer } = this.#options;
    const secret = headers.authorization === undefined ? sessions.secretOf(headers) : undefined;
    if (secret !== undefined) {
      const session = await sessions.authenticate(secret, headers, isUnsafe);
      const { id: sessionId, actor, role, scopes, tokenId, expiresAt } = session;
      return { actor, role, scopes, tokenId, sessionId, expiresAt };
    }
    const peer = headers.authorization === undefined ? identifyPeer(socket) : null;
    if (peer !== null) return this.#byCertificate(peer, headers, isUnsafe);
    const token = await tokens.authenticate(headers.authorization, !isUnsafe);
    const { id: tokenId, role, scopes, expiresAt } = token;
    return { actor: actorOf(token), role, scopes, tokenId, sessionId: null, expiresAt };
  }

  /** A browser shows a certificate to every page that asks, like a cookie; a program says nothing of pages. */
  #byCertificate(
    { spiffeId, role, notAfter }: PeerIdentity,
    headers: IncomingMessage['headers'],
    isUnsafe: boolean,
  ): Caller {
    if (headers.origin !== undefined || headers['sec-fetch-site'] !== undefined)
      this.#options.origin.checkSource(headers, isUnsafe);
    if (role === null)
      throw new CarnetError(
        'permission_denied',
        `${spiffeId} has no role here: the server's --identity-role gives none`,
      );
    return {
      actor: `operator:${spiffeId}`,
      role,
      scopes: null,
      tokenId: null,
      sessionId: null,
      expiresAt: notAfter,
    };
  }
}
