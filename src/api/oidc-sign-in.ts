import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { type Cookie, formatCookie, readCookie } from './cookie.ts';
import type { OwnOrigin } from './own-origin.ts';
import { ROLES, type Role } from './role.ts';
import { defineRoute, type Route } from './route.ts';
import { createSecret, hashSecret, type NewSession, type SessionStore, sessionEnd } from './session.ts';
import type { SessionAuthenticator } from './session-authenticate.ts';
import { SIGN_IN_RATE } from './sessions.ts';

/** What binds an answer of the provider to the browser that asked (RFC 6749 §10.12, OpenID Connect Core §3.1.2.1, RFC 7636). */
const SignInMethods = z
  .strictObject({
    token: z.literal(true),
    oidc: z
      .strictObject({ issuer: z.string() })
      .nullable()
      .meta({ description: 'Go to /v1/session/oidc; null for none' }),
  })
  .meta({ id: 'SignInMethods' });

export type SignInMethodsBody = z.output<typeof SignInMethods>;

export interface SignInChecks {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

export interface SignedInPerson {
  readonly actor: string;
  /** All that the person may have, in the order of the settings. */
  readonly roles: readonly Role[];
  readonly issuer: string;
  /** The provider's own, which stays (`sub`). */
  readonly subject: string;
}

/** Where people sign in. Both throw `unavailable`, `timeout`, `overloaded`; `finish` `unauthenticated`. */
export interface IdentityProvider {
  readonly issuer: string;
  /** The URL at the provider to send the browser to. */
  begin(redirectUri: string, checks: SignInChecks): Promise<string>;
  /** Who came back to the URL `callback`, by a verified ID token. */
  finish(callback: URL, checks: SignInChecks): Promise<SignedInPerson>;
}

/** To type a password and find one's phone. */
const SIGN_IN_SECONDS = 600;
/**
 * Lax, because the provider sends the browser back from its own site. It is all there is of a sign-in that is under
 * way: what the provider is shown follows from it one way, so nothing is kept here, and nobody else can go on with it.
 */
const COOKIE: Cookie = { name: 'carnet-sign-in', sameSite: 'Lax', maxAgeSeconds: SIGN_IN_SECONDS };
const CALLBACK = '/v1/session/oidc/callback';
const MAX_PATH = 1000;
/** Without a wish the most that is not for emergencies. */
const BY_DEFAULT: readonly Role[] = ['admin', 'operator', 'auditor'];

const Moved = z.string().max(0).meta({ description: 'Nothing; Location says where to go on' });

export interface OidcSignInDependencies {
  readonly provider: IdentityProvider | null;
  readonly sessions: SessionStore;
  readonly authenticator: SessionAuthenticator;
  readonly origin: OwnOrigin;
  /** Whether a sign-in, by its hash, comes to its end for the first time; answered for all replicas. */
  readonly isFirstUse: (sha256: Uint8Array, until: number) => Promise<boolean>;
  readonly clock: Clock;
}

/** What a sign-in is about, as its cookie has it. */
interface SignIn {
  readonly to: string;
  readonly role: Role | null;
}

/** People sign in at an OpenID provider. */
export function oidcSignInRoutes(dependencies: OidcSignInDependencies): Route[] {
  const { sessions, authenticator, origin, isFirstUse, clock } = dependencies;
  const provider = (): IdentityProvider => {
    if (dependencies.provider !== null) return dependencies.provider;
    throw new CarnetError(
      'not_found',
      'there is no sign-in by OpenID Connect here: the server has no --oidc-issuer',
    );
  };
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/session/methods',
      name: 'getSignInMethods',
      access: 'public',
      summary: 'How one can sign in',
      response: SignInMethods,
      handle: () => ({
        token: true as const,
        oidc: dependencies.provider && { issuer: dependencies.provider.issuer },
      }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/session/oidc',
      name: 'beginOidcSignIn',
      access: 'public',
      summary: 'Sign in at the OpenID provider',
      description: 'For a browser, which is sent there.',
      rate: SIGN_IN_RATE,
      query: z.strictObject({
        to: z
          .string()
          .max(MAX_PATH)
          .optional()
          .meta({ description: 'The page to come back to: a path of ours' }),
        role: z
          .enum(ROLES)
          .optional()
          .meta({ description: 'Of those that one may have; break-glass only if it is asked for' }),
      }),
      response: Moved,
      mediaType: 'text/plain; charset=utf-8',
      statuses: [303],
      handle: async ({ query: { to = '/', role = null }, headers, reply }) => {
        // Another site's page must not choose the role, or break the glass, for whom the provider knows already.
        origin.checkSource(headers, false);
        const value = encodeSignIn({ to: ownPath(to), role }, clock());
        const url = await provider().begin(origin.urlOf(CALLBACK), checksOf(value));
        reply.append('Set-Cookie', formatCookie(COOKIE, value, origin.isSecure));
        reply.append('Location', url);
        return '';
      },
    }),
    defineRoute({
      method: 'GET',
      path: CALLBACK,
      name: 'endOidcSignIn',
      access: 'public',
      summary: 'Come back from the OpenID provider',
      description: 'For a browser. Opens a session and goes on to the page that was asked for.',
      rate: SIGN_IN_RATE,
      query: z.looseObject({}),
      response: Moved,
      mediaType: 'text/plain; charset=utf-8',
      statuses: [303],
      handle: async ({ query, headers, reply }) => {
        const identityProvider = provider();
        origin.checkHost(headers.host);
        const value = cookieOf(headers, origin);
        const { to, role } = decodeSignIn(value, clock());
        const url = new URL(origin.urlOf(CALLBACK));
        for (const [name, text] of Object.entries(query)) url.searchParams.set(name, String(text));
        const person = await identityProvider.finish(url, checksOf(value));
        if (!(await isFirstUse(derive('use', value), clock() + SIGN_IN_SECONDS * 1000)))
          throw new CarnetError('unauthenticated', 'this sign-in was used already: sign in again');
        const secret = createSecret();
        await sessions.create(
          { ...sessionOf(person, chooseRole(person, role), clock()), sha256: hashSecret(secret) },
          { issuer: person.issuer, subject: person.subject },
        );
        reply.append('Set-Cookie', authenticator.cookie(secret));
        reply.append('Set-Cookie', formatCookie(COOKIE, '', origin.isSecure));
        reply.append('Location', to);
        return '';
      },
    }),
  ];
}

function sessionOf({ actor }: SignedInPerson, role: Role, now: number): Omit<NewSession, 'sha256'> {
  return {
    actor,
    role,
    scopes: null,
    method: 'oidc',
    tokenId: null,
    createdAt: new Date(now),
    expiresAt: sessionEnd(role, now),
  };
}

function chooseRole({ actor, roles, issuer }: SignedInPerson, asked: Role | null): Role {
  const role =
    asked === null ? BY_DEFAULT.find((one) => roles.includes(one)) : roles.find((one) => one === asked);
  if (role !== undefined) return role;
  const wish = asked === null ? 'no role' : `not the role ${asked}`;
  throw new CarnetError(
    'permission_denied',
    `${actor} has ${wish} here: ${issuer} says nothing of them that --oidc-role gives one for`,
  );
}

/**
 * A path of this server, as a browser would read it. Throws `invalid_argument` for anything that could lead
 * elsewhere: `//evil.example`, `/\evil.example`, a scheme.
 */
function ownPath(path: string): string {
  const base = 'http://own.invalid';
  const url = URL.canParse(path, base) ? new URL(path, base) : null;
  if (!path.startsWith('/') || url?.origin !== base || /[\\\p{Cc}]/u.test(path))
    throw new CarnetError(
      'invalid_argument',
      `to: must be a path of this server, not ${JSON.stringify(path.slice(0, 80))}`,
    );
  // What is parsed may begin with two slashes though what was given did not: /.//evil.example.
  return `/${(url.pathname + url.search + url.hash).replace(/^\/+/, '')}`;
}

function encodeSignIn(signIn: SignIn, now: number): string {
  const about = Buffer.from(JSON.stringify(signIn)).toString('base64url');
  return `${Math.floor(now / 1000)}.${createSecret()}.${about}`;
}

/** What is in it was our own: the state that came back is of the whole cookie. */
function decodeSignIn(value: string, now: number): SignIn {
  const [seconds = '', , about = ''] = value.split('.');
  const ageSeconds = now / 1000 - Number(seconds);
  if (!(ageSeconds < SIGN_IN_SECONDS))
    throw new CarnetError(
      'unauthenticated',
      `the sign-in took longer than ${SIGN_IN_SECONDS / 60} minutes: begin again`,
    );
  try {
    const { to, role } = JSON.parse(Buffer.from(about, 'base64url').toString()) as SignIn;
    return { to: ownPath(to), role };
  } catch (cause) {
    throw new CarnetError('unauthenticated', 'the cookie of the sign-in is not ours: begin again', { cause });
  }
}

function cookieOf(headers: IncomingHttpHeaders, origin: OwnOrigin): string {
  const value = readCookie(headers, COOKIE, origin.isSecure) ?? '';
  if (value !== '') return value;
  throw new CarnetError(
    'unauthenticated',
    'this browser has begun no sign-in here, or has ended it: begin again',
  );
}

function checksOf(value: string): SignInChecks {
  return {
    state: derive('state', value).toString('base64url'),
    nonce: derive('nonce', value).toString('base64url'),
    verifier: derive('verifier', value).toString('base64url'),
  };
}

function derive(purpose: string, value: string): Buffer {
  return createHash('sha256').update(`carnet sign-in ${purpose}\0${value}`, 'utf8').digest();
}
