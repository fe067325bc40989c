import { z } from 'zod';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { NameInput, Time, timeText } from './fields.ts';
import type { OwnOrigin } from './own-origin.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { ROLES } from './role.ts';
import { type Caller, defineRoute, type Route } from './route.ts';
import {
  createSecret,
  csrfOf,
  hashSecret,
  type NewSession,
  SESSION_IDLE_SECONDS,
  SESSION_SECONDS,
  type Session,
  type SessionStore,
  SIGN_INS,
  sessionEnd,
} from './session.ts';
import type { SessionAuthenticator } from './session-authenticate.ts';

/** A person signs in a few times a day; behind a proxy all come from one address. */
export const SIGN_IN_RATE = { perSecond: 1, burst: 20 };

const SessionBody = z
  .strictObject({
    actor: z.string().meta({ description: 'Who you are in the audit log' }),
    role: z.enum(ROLES),
    scopes: z.array(z.string()).nullable().meta({ description: 'Null: all that the role may' }),
    session: z.boolean().meta({ description: 'Whether it is a session; else a token' }),
    expires_at: Time.nullable().meta({ description: 'Whatever you do; null for never' }),
    idle_seconds: z.int().nullable().meta({ description: 'After so long without a request it ends too' }),
    csrf: z
      .string()
      .nullable()
      .meta({ description: 'For the header Carnet-CSRF of requests that change something' }),
    notice: z.string().nullable().meta({ description: 'To be shown as long as it lasts' }),
  })
  .meta({ id: 'Session' });

export type SessionBody = z.output<typeof SessionBody>;

const OpenSession = z
  .strictObject({
    id: z.string(),
    actor: z.string(),
    role: z.enum(ROLES),
    method: z.enum(SIGN_INS),
    token: z.string().nullable().meta({ description: 'ID of the token that it was opened with' }),
    created_at: Time,
    last_used_at: Time.meta({ description: 'To the minute or so' }),
    expires_at: Time.meta({ description: 'Sooner when nobody uses it' }),
  })
  .meta({ id: 'OpenSession' });

export type OpenSessionBody = z.output<typeof OpenSession>;

const Ended = z.strictObject({ ended: z.literal(true) }).meta({ id: 'SessionEnd' });

export interface SessionRouteDependencies {
  readonly sessions: SessionStore;
  readonly authenticator: SessionAuthenticator;
  readonly origin: OwnOrigin;
  readonly clock: Clock;
}

/** Browsers sign in, ask who they are, and sign out. */
export function sessionRoutes(dependencies: SessionRouteDependencies): Route[] {
  const { sessions, authenticator, origin, clock } = dependencies;
  return [
    defineRoute({
      method: 'POST',
      path: '/v1/session',
      name: 'createSession',
      access: 'reader',
      summary: 'Sign a browser in with a token',
      description: `Sets the cookie of a session, which ends after ${SESSION_IDLE_SECONDS / 60} minutes without a request, after ${SESSION_SECONDS / 3600} hours, and with its token.`,
      rate: SIGN_IN_RATE,
      response: SessionBody,
      statuses: [201],
      handle: async ({ caller, headers, reply }) => {
        if (caller.sessionId !== null)
          throw new CarnetError(
            'conflict',
            'a session opens no other: send a token as "Authorization: Bearer"',
          );
        if (caller.tokenId === null)
          throw new CarnetError('conflict', 'a client certificate needs no session: it counts by itself');
        origin.checkSource(headers, false);
        const secret = createSecret();
        const created = await sessions.create(
          { ...openedBy(caller, clock()), sha256: hashSecret(secret) },
          {},
        );
        reply.append('Set-Cookie', authenticator.cookie(secret));
        return sessionBody({ ...caller, sessionId: created.id, expiresAt: created.expiresAt }, secret);
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/session',
      name: 'getSession',
      access: 'reader',
      summary: 'Who am I',
      description: 'For a session also what it needs to change something. 401 means: sign in.',
      response: SessionBody,
      handle: ({ caller, headers }) => sessionBody(caller, authenticator.secretOf(headers)),
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/session',
      name: 'endSession',
      access: 'reader',
      summary: 'Sign out',
      response: Ended,
      handle: async ({ caller, reply }) => {
        const { sessionId } = caller;
        if (sessionId === null)
          throw new CarnetError(
            'conflict',
            'a token has no session to end: revoke it with DELETE /v1/tokens/{id}',
          );
        await sessions.end(sessionId, caller.actor);
        authenticator.forget(({ id }) => id === sessionId);
        reply.append('Set-Cookie', authenticator.cookie(''));
        return { ended: true as const };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/sessions',
      name: 'listSessions',
      access: 'auditor',
      summary: 'List who is signed in',
      query: z.strictObject(PAGE_QUERY),
      response: pageSchema('SessionPage', OpenSession),
      handle: async ({ query }) => {
        const [now, usedSince] = [clock(), clock() - SESSION_IDLE_SECONDS * 1000];
        const open = await sessions.list(new Date(now), new Date(usedSince));
        const page = cutPage(open, orderKey, query);
        return { items: page.items.map(openSessionBody), next_cursor: page.nextCursor };
      },
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/sessions/{id}',
      name: 'endOtherSession',
      access: 'admin',
      summary: "End somebody's session",
      description: 'At once at this replica, within 5 s at the others.',
      params: z.strictObject({ id: NameInput }),
      response: Ended,
      handle: async ({ params, caller }) => {
        if (!(await sessions.end(params.id, caller.actor)))
          throw new CarnetError(
            'not_found',
            `there is no session ${JSON.stringify(params.id)}: it may have ended`,
          );
        authenticator.forget(({ id }) => id === params.id);
        return { ended: true as const };
      },
    }),
  ];
}

/** By its beginning; the ID parts those of one instant. */
function orderKey({ createdAt, id }: Session): string {
  return `${timeText(createdAt)} ${id}`;
}

function openSessionBody(session: Session): z.input<typeof OpenSession> {
  return {
    id: session.id,
    actor: session.actor,
    role: session.role,
    method: session.method,
    token: session.tokenId,
    created_at: timeText(session.createdAt),
    last_used_at: timeText(session.lastUsedAt),
    expires_at: timeText(session.expiresAt),
  };
}

function openedBy(caller: Caller, now: number): Omit<NewSession, 'sha256'> {
  const { actor, role, scopes, tokenId, expiresAt } = caller;
  if (role === null) throw new CarnetError('unauthenticated', 'nobody has no session');
  const end = Math.min(sessionEnd(role, now).getTime(), expiresAt?.getTime() ?? Number.POSITIVE_INFINITY);
  return {
    actor,
    role,
    scopes,
    method: 'token',
    tokenId,
    createdAt: new Date(now),
    expiresAt: new Date(end),
  };
}

function sessionBody(caller: Caller, secret: string | undefined): z.input<typeof SessionBody> {
  const { actor, role, scopes, sessionId, expiresAt } = caller;
  if (role === null) throw new CarnetError('unauthenticated', 'nobody is signed in');
  const isSession = sessionId !== null;
  return {
    actor,
    role,
    scopes: scopes && [...scopes],
    session: isSession,
    expires_at: expiresAt && timeText(expiresAt),
    idle_seconds: isSession ? SESSION_IDLE_SECONDS : null,
    csrf: isSession && secret !== undefined ? csrfOf(secret) : null,
    notice: role === 'break-glass' ? 'You break the glass: all that you do is reported at once.' : null,
  };
}
