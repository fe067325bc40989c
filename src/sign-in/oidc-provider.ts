import {
  AuthorizationResponseError,
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  ClientSecretBasic,
  type Configuration,
  calculatePKCECodeChallenge,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  None,
  ResponseBodyError,
} from 'openid-client';
import type { IdentityProvider, SignedInPerson, SignInChecks } from '../api/oidc-sign-in.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { limitedFetch } from './limited-fetch.ts';
import { lacksClaims, type PersonRules, personOf } from './person.ts';

/** For one request to the provider. */
const TIMEOUT_SECONDS = 10;
/** Keys are looked up when an unknown one signs; the rest of what a provider says of itself hardly changes. */
const DISCOVERY_FRESH_MS = 15 * 60_000;
/** Sign-ins under way: each waits for the provider. */
const MAX_AT_ONCE = 32;

export interface OidcProviderOptions {
  /** As the provider's discovery document has it; https, or http on this machine. */
  readonly issuer: string;
  readonly clientId: string;
  /** Null: a public client, with PKCE alone. */
  readonly clientSecret: string | null;
  /** Space-separated. */
  readonly scope: string;
  readonly rules: Omit<PersonRules, 'issuer'>;
  readonly clock: Clock;
}

/**
 * An OpenID provider (OpenID Connect Core 1.0, RFC 6749, PKCE by RFC 7636) that people sign in at. The protocol is
 * openid-client's; what it leaves open is closed here: the ID token's signature is verified by the provider's keys
 * though it came over TLS, answers are bounded in size and time, and redirects are not followed.
 */
export class OidcProvider implements IdentityProvider {
  readonly issuer: string;
  readonly #options: OidcProviderOptions;
  #discovered: { readonly configuration: Promise<Configuration>; readonly at: number } | null = null;
  #underWay = 0;

  constructor(options: OidcProviderOptions) {
    this.#options = options;
    this.issuer = options.issuer;
  }

  async begin(redirectUri: string, { state, nonce, verifier }: SignInChecks): Promise<string> {
    const configuration = await this.#bounded(() => this.#discover());
    const url = buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: this.#options.scope,
      state,
      nonce,
      code_challenge: await calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    });
    return url.href;
  }

  async finish(callback: URL, { state, nonce, verifier }: SignInChecks): Promise<SignedInPerson> {
    return this.#bounded(async () => {
      const configuration = await this.#discover();
      const tokens = await authorizationCodeGrant(configuration, callback, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (claims === undefined) throw new CarnetError('unauthenticated', 'the provider gave no ID token');
      const rules = { ...this.#options.rules, issuer: this.issuer };
      const more =
        lacksClaims(claims, rules) && configuration.serverMetadata().userinfo_endpoint !== undefined
          ? await fetchUserInfo(configuration, tokens.access_token, claims.sub)
          : {};
      return personOf({ ...more, ...claims }, rules);
    });
  }

  /** What the provider says of itself; asked again when it is old, or when asking failed. */
  #discover(): Promise<Configuration> {
    const { clock } = this.#options;
    if (this.#discovered !== null && clock() - this.#discovered.at < DISCOVERY_FRESH_MS)
      return this.#discovered.configuration;
    const configuration = this.#askProvider();
    const discovered = { configuration, at: clock() };
    this.#discovered = discovered;
    configuration.catch(() => {
      if (this.#discovered === discovered) this.#discovered = null;
    });
    return configuration;
  }

  #askProvider(): Promise<Configuration> {
    const { issuer, clientId, clientSecret } = this.#options;
    const server = new URL(issuer);
    return discovery(server, clientId, {}, clientSecret === null ? None() : ClientSecretBasic(clientSecret), {
      [customFetch]: limitedFetch as NonNullable<Configuration[typeof customFetch]>,
      timeout: TIMEOUT_SECONDS,
      // The settings allow http on this machine alone.
      execute: [enableNonRepudiationChecks, ...(server.protocol === 'http:' ? [allowInsecureRequests] : [])],
    });
  }

  async #bounded<T>(work: () => Promise<T>): Promise<T> {
    if (this.#underWay >= MAX_AT_ONCE)
      throw new CarnetError('overloaded', `${MAX_AT_ONCE} people sign in right now: try again`);
    this.#underWay++;
    try {
      return await work();
    } catch (error) {
      throw refusalOf(error);
    } finally {
      this.#underWay--;
    }
  }
}

/** What failed, in our words: nothing of a code or a token is in it. */
function refusalOf(cause: unknown): CarnetError {
  if (cause instanceof CarnetError) return cause;
  // Of our own fetch, in the library's words.
  const within = (cause as Error | undefined)?.cause;
  if (within instanceof CarnetError) return within;
  const failed = (code: CarnetError['code'], message: string) => new CarnetError(code, message, { cause });
  if (cause instanceof AuthorizationResponseError)
    return failed(
      'unauthenticated',
      `the provider did not sign you in: ${JSON.stringify(cause.error.slice(0, 100))}`,
    );
  if (cause instanceof ResponseBodyError)
    return cause.status >= 500
      ? failed('unavailable', `the provider fails with status ${cause.status}: try again`)
      : failed(
          'unauthenticated',
          `the provider refuses the code: ${JSON.stringify(cause.error.slice(0, 100))}; sign in again`,
        );
  const { name, code } = cause as { name?: string; code?: string };
  if (name === 'TimeoutError' || code === 'OAUTH_TIMEOUT')
    return failed('timeout', `the provider did not answer within ${TIMEOUT_SECONDS} s: try again`);
  if (typeof code === 'string' && code.startsWith('OAUTH_'))
    return failed(
      'unauthenticated',
      `what the provider says does not hold: ${(cause as Error).message.slice(0, 200)}`,
    );
  if (cause instanceof TypeError) return failed('unavailable', 'the provider can not be reached: try again');
  return failed('internal', 'the sign-in failed');
}
