import { useEffect, useState } from 'preact/hooks';
import type { SessionBody } from '../../../src/api/sessions.ts';
import { get, onSignedOut, RestError, send, setCsrfToken } from './rest.ts';

/** `unknown` until the server was asked; `failed` when it couldn't be. */
export type SessionState =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'signed-out'; readonly ended: boolean }
  | { readonly kind: 'failed'; readonly error: RestError }
  | { readonly kind: 'signed-in'; readonly session: SessionBody };

let state: SessionState = { kind: 'unknown' };
const listeners = new Set<(state: SessionState) => void>();

export function useSession(): SessionState {
  const [seen, setSeen] = useState(state);
  useEffect(() => {
    listeners.add(setSeen);
    setSeen(state);
    return () => void listeners.delete(setSeen);
  }, []);
  return seen;
}

/** Asks the server who we are. */
export async function loadSession(): Promise<void> {
  try {
    signIn(await get<SessionBody>('/v1/session'));
  } catch (error) {
    if (!(error instanceof RestError)) throw error;
    if (error.status !== 401) change({ kind: 'failed', error });
  }
}

/** Turns a token into a session. It is in one request, and nowhere else: no script can read the session's cookie. */
export async function signInWith(token: string): Promise<void> {
  const response = await fetch('/v1/session', {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}` },
  });
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { detail?: string };
    throw new RestError(response.status, problem.detail ?? response.statusText, null, null);
  }
  await loadSession();
}

export async function signOut(): Promise<void> {
  await send('DELETE', '/v1/session').catch((error: unknown) => {
    // A session that has ended already is what was wanted.
    if (!(error instanceof RestError) || error.status !== 401) throw error;
  });
  setCsrfToken(null);
  change({ kind: 'signed-out', ended: false });
}

/**
 * Whether the role may change things, and a limited session those of `scope` (`rotations`, as in `/v1/rotations`); the
 * server has the last word.
 */
export function mayChange(state: SessionState, scope: string): boolean {
  if (state.kind !== 'signed-in') return false;
  const { role, scopes } = state.session;
  return role !== 'auditor' && (scopes === null || scopes.includes(`${scope}:write`));
}

/** Whether what operators did may be read: those who run the fleet don't. */
export function readsEvents({ role }: SessionBody): boolean {
  return role !== 'operator';
}

function signIn(session: SessionBody): void {
  setCsrfToken(session.csrf);
  change({ kind: 'signed-in', session });
}

function change(next: SessionState): void {
  state = next;
  for (const listener of listeners) listener(next);
}

onSignedOut(() => {
  setCsrfToken(null);
  if (state.kind !== 'signed-out') change({ kind: 'signed-out', ended: state.kind === 'signed-in' });
});
