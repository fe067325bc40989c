import type { webcrypto } from 'node:crypto';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { StandIn } from '../http-stand-in.ts';
import type { Issued } from '../machine-ca.ts';

export const AUDIENCE = 'carnet';

/** A real OpenID Connect issuer on 127.0.0.1, with its discovery document and keys. */
export class Issuer {
  readonly server: StandIn;
  url = '';
  /** What it answers by path. */
  readonly documents = new Map<string, unknown>();
  readonly #keys = new Map<string, webcrypto.CryptoKey>();

  constructor(identity: Issued | null = null) {
    this.server = new StandIn(identity);
    this.server.answer = (request, response) => {
      const document = this.documents.get(request.url ?? '');
      response.writeHead(document === undefined ? 404 : 200).end(JSON.stringify(document ?? {}));
    };
  }

  async start(): Promise<this> {
    this.url = (await this.server.listen()).origin;
    this.documents.set('/.well-known/openid-configuration', {
      issuer: this.url,
      jwks_uri: `${this.url}/keys`,
    });
    await this.rotate('first');
    return this;
  }

  /** Publishes one more key. */
  async rotate(kid: string, alg = 'ES256'): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(alg);
    this.#keys.set(kid, privateKey);
    const { keys = [] } = (this.documents.get('/keys') ?? {}) as { keys?: object[] };
    this.documents.set('/keys', {
      keys: [...keys, { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }],
    });
  }

  /** A token with these claims; undefined takes a claim out. `kid`: one that `rotate` published. */
  async sign(claims: JWTPayload, { kid = 'first', alg = 'ES256', named = true } = {}): Promise<string> {
    const key = this.#keys.get(kid);
    if (key === undefined) throw new Error(`no key ${kid}`);
    const now = Math.floor(Date.now() / 1000);
    const all = { iss: this.url, aud: AUDIENCE, iat: now, exp: now + 600, ...claims };
    return new SignJWT(all).setProtectedHeader({ alg, ...(named && { kid }) }).sign(key);
  }
}

export function neverAsked(): Promise<Uint8Array> {
  return Promise.reject(new Error('a token needs no challenge'));
}
