import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, type JWTPayload, SignJWT } from 'jose';
import { closeServer } from '../support/openid-provider.ts';

/** A provider that says what a test wants it to: for what no honest one says. */
export interface ForgingProvider {
  readonly issuer: string;
  readonly keys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  /** The ID token that its token endpoint gives, for the nonce that was asked for. */
  idToken: (claims: JWTPayload) => Promise<string>;
  /** What it answers in place of its own answer; null for that. */
  instead: ((path: string, response: ServerResponse) => boolean) | null;
  /** Added to its discovery document. */
  metadata: Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

export const CLIENT_ID = 'carnet';

export async function startForgingProvider(nonce: string): Promise<ForgingProvider> {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    request.resume();
    if (provider.instead?.(path, response)) return;
    answer(path).then(
      (body) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body)),
      () => response.writeHead(500).end(),
    );
  });
  server.listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function answer(path: string): Promise<unknown> {
    if (path === '/.well-known/openid-configuration')
      return {
        issuer,
        authorization_endpoint: `${issuer}/auth`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/keys`,
        id_token_signing_alg_values_supported: ['ES256', 'HS256', 'none'],
        ...provider.metadata,
      };
    if (path === '/keys') return { keys: [jwk] };
    const claims = {
      iss: issuer,
      aud: CLIENT_ID,
      sub: 'ann',
      groups: ['platform'],
      email: 'ann@example.com',
      nonce,
    };
    return {
      access_token: 'access',
      token_type: 'Bearer',
      id_token: await provider.idToken({ ...claims, iat: seconds(0), exp: seconds(300) }),
    };
  }

  const provider: ForgingProvider = {
    issuer,
    keys,
    idToken: (claims) => signed(claims, keys.privateKey),
    instead: null,
    metadata: {},
    close: () => closeServer(server),
  };
  return provider;
}

export function signed(claims: JWTPayload, key: KeyObject | Uint8Array, alg = 'ES256'): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg, kid: 'one' }).sign(key);
}

export function seconds(fromNow: number): number {
  return Math.floor(Date.now() / 1000) + fromNow;
}
