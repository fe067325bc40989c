import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

/** Who can sign in: by name, with any password. */
export type People = Readonly<
  Record<
    string,
    { readonly email?: string; readonly email_verified?: boolean; readonly groups?: readonly string[] }
  >
>;

export interface OpenIdProvider {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Changes who there is, from the next token on. */
  people: People;
  close(): Promise<void>;
}

export interface ProviderOptions {
  readonly redirectUris: readonly string[];
  readonly people: People;
  /** Of authorization codes. */
  readonly codeSeconds?: number;
  /** Whether claims are in the ID token, or only at the UserInfo endpoint. */
  readonly claimsInIdToken?: boolean;
}

/**
 * A real OpenID provider, `oidc-provider`, on 127.0.0.1, with its own pages for login (the name; any password) and
 * consent. It insists on PKCE.
 */
export async function startOpenIdProvider(options: ProviderOptions): Promise<OpenIdProvider> {
  const server = createServer();
  server.listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const client = { clientId: 'carnet', clientSecret: randomBytes(16).toString('hex') };
  const state = { people: options.people };
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: client.clientId,
        client_secret: client.clientSecret,
        redirect_uris: [...options.redirectUris],
        grant_types: ['authorization_code'],
        response_types: ['code'],
        id_token_signed_response_alg: 'ES256',
      },
    ],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'one' }] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    pkce: { required: () => true },
    claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: options.claimsInIdToken === false,
    ttl: {
      AuthorizationCode: options.codeSeconds ?? 60,
      AccessToken: 600,
      Grant: 3600,
      IdToken: 600,
      Interaction: 600,
      Session: 3600,
    },
    findAccount: (_context, id) => {
      const person = state.people[id];
      if (person === undefined) return undefined;
      return { accountId: id, claims: () => ({ sub: id, ...person, groups: [...(person.groups ?? [])] }) };
    },
  });
  server.on('request', provider.callback());
  return {
    issuer,
    ...client,
    get people() {
      return state.people;
    },
    set people(people) {
      state.people = people;
    },
    close: () => closeServer(server),
  };
}

export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

/**
 * Signs in at the provider as a person with a browser does, from the URL that Carnet sent it to, and answers the URL that the
 * provider sends it back to. Follows no more than the provider's own pages.
 */
export async function signInAtProvider(start: string, name: string): Promise<string> {
  const cookies = new Map<string, string>();
  const { origin } = new URL(start);
  let url = start;
  let form: Record<string, string> | null = null;
  for (let step = 0; step < 20; step++) {
    if (new URL(url).origin !== origin) return url;
    const response: Response = await fetch(url, {
      redirect: 'manual',
      method: form === null ? 'GET' : 'POST',
      headers: {
        cookie: [...cookies].map(([key, value]) => `${key}=${value}`).join('; '),
        ...(form === null ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      },
      ...(form === null ? {} : { body: new URLSearchParams(form) }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, key = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      cookies.set(key, value);
    }
    const location = response.headers.get('location');
    const page = await response.text();
    form = null;
    if (location !== null) url = new URL(location, url).href;
    else form = formOf(page, name);
    if (form !== null) url = actionOf(page, url);
  }
  throw new Error(`the provider does not come to an end: ${url}`);
}

function formOf(page: string, name: string): Record<string, string> {
  if (page.includes('value="login"')) return { prompt: 'login', login: name, password: 'any' };
  if (page.includes('value="consent"')) return { prompt: 'consent' };
  throw new Error(`the provider shows neither login nor consent: ${page.slice(0, 500)}`);
}

function actionOf(page: string, url: string): string {
  return new URL(/<form[^>]* action="([^"]+)"/.exec(page)?.[1] ?? '', url).href;
}
