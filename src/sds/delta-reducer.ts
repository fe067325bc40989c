import type { Resource, Resources } from './resource.ts';
import {
  availableOf,
  checkNames,
  EMPTY_SUBSCRIPTION,
  isPlausible,
  noteWaiting,
  type Report,
  type Sent,
  type Subscription,
  sentReport,
  settle,
  unsentOf,
} from './subscription.ts';

/** One incremental stream (`DeltaSecrets`): what it asks for and was sent. */
export interface DeltaState {
  readonly subscription: Subscription;
  /** Whether its first request has come. */
  readonly begun: boolean;
}

export type DeltaEvent =
  /** A DeltaDiscoveryRequest; `error` is null where it has no error_detail. */
  | {
      readonly kind: 'request';
      readonly subscribe: readonly string[];
      readonly unsubscribe: readonly string[];
      /** Versions by name that the proxy kept from an earlier stream; looked at in the first request only. */
      readonly initial: ReadonlyMap<string, string>;
      readonly nonce: string;
      readonly error: string | null;
    }
  /** The caller's resources may have changed. */
  | { readonly kind: 'changed' }
  /** The transport has taken the last response. */
  | { readonly kind: 'writable' };

/** One change: a resource, or names that are gone. */
export interface DeltaResponse {
  readonly nonce: string;
  readonly resource: Resource | null;
  readonly removed: readonly string[];
}

export interface DeltaReduction {
  readonly state: DeltaState;
  readonly response: DeltaResponse | null;
  readonly reports: readonly Report[];
}

export const INITIAL_DELTA: DeltaState = { subscription: EMPTY_SUBSCRIPTION, begun: false };

/**
 * The incremental variant of the xDS protocol for secrets, one event at a time; `resources` is what the
 * caller may have now.
 *
 * - A response holds one resource that is asked for and wasn't sent in this version: a proxy answers a response
 *   as a whole, so that a bad resource in it would hold up the good. The next follows when this one is taken.
 * - A name that is subscribed again is sent again: the proxy may have dropped it in between.
 * - What the proxy kept from an earlier stream (initial_resource_versions) isn't sent again while it is
 *   current, and counts as acknowledged.
 * - What isn't available is withheld. A removal is sent only for what the proxy was sent or kept, and not while
 *   the caller's first certificates are still being issued: Envoy takes a removal as leave to finish
 *   initializing without the secret (and keeps what it has); another client may drop what still is valid.
 * - Each answer counts for what was last sent with its nonce; an answer to something since replaced, or to a
 *   nonce never sent, counts for nothing. The names in such a request count all the same, as they are changes.
 *
 * Throws `invalid_argument` past the limits on names; the stream must then end.
 */
export function reduceDelta(state: DeltaState, event: DeltaEvent, resources: Resources): DeltaReduction {
  switch (event.kind) {
    case 'changed':
      return respond(state, resources, []);
    case 'writable':
      return respond({ ...state, subscription: { ...state.subscription, writable: true } }, resources, []);
    case 'request':
      return respondTo(state, event, resources);
  }
}

function respondTo(
  state: DeltaState,
  request: DeltaEvent & { kind: 'request' },
  resources: Resources,
): DeltaReduction {
  const answered = settle(state.subscription, request.nonce, request.error);
  const kept = state.begun ? new Map<string, string>() : request.initial;
  const { subscription, reports } = ask(answered.subscription, request, kept);
  return respond({ subscription, begun: true }, resources, [...answered.reports, ...reports]);
}

/** Unsubscribes, then subscribes: a name in both lists was dropped and wanted again. */
function ask(
  subscription: Subscription,
  { subscribe, unsubscribe }: DeltaEvent & { kind: 'request' },
  kept: ReadonlyMap<string, string>,
): { subscription: Subscription; reports: Report[] } {
  const sent = new Map<string, Sent | null>(subscription.sent);
  for (const name of unsubscribe) sent.delete(name);
  const reports: Report[] = [];
  for (const name of subscribe) {
    const version = kept.get(name) ?? '';
    sent.set(name, isPlausible(version) ? { version, nonce: '', answer: 'open' } : null);
    if (isPlausible(version)) reports.push({ kind: 'kept', name, version });
  }
  checkNames(sent.keys());
  for (const name of subscription.sent.keys()) if (!sent.has(name)) reports.push({ kind: 'dropped', name });
  return { subscription: { ...subscription, sent }, reports };
}

function respond(before: DeltaState, resources: Resources, told: readonly Report[]): DeltaReduction {
  const resumed = resume(before.subscription, resources);
  const noted = noteWaiting(resumed.subscription, resources);
  const { subscription } = noted;
  const reports = [...told, ...resumed.reports, ...noted.reports];
  const state = { ...before, subscription };
  if (!subscription.writable) return { state, response: null, reports };

  const [resource = null] = unsentOf(subscription, availableOf(subscription, resources));
  const removed = resource === null ? gone(subscription, resources) : [];
  if (resource === null && removed.length === 0) return { state, response: null, reports };

  const response = { nonce: String(subscription.nonce + 1), resource, removed };
  return {
    state: { ...state, subscription: record(subscription, response) },
    response,
    reports: resource === null ? reports : [...reports, sentReport(resource)],
  };
}

/** Counts what the proxy kept from an earlier stream as sent and acknowledged, once it proves to be current. */
function resume(
  subscription: Subscription,
  resources: Resources,
): { subscription: Subscription; reports: Report[] } {
  const reports: Report[] = [];
  const sent = new Map(subscription.sent);
  for (const [name, last] of sent) {
    const resource = resources.get(name);
    if (last?.nonce !== '' || last.answer !== 'open' || last.version !== resource?.version) continue;
    sent.set(name, { ...last, answer: 'acknowledged' });
    reports.push(sentReport(resource), { kind: 'acknowledged', name, version: last.version });
  }
  return reports.length === 0
    ? { subscription, reports }
    : { subscription: { ...subscription, sent }, reports };
}

/** Names that the proxy has a version of, and that the caller no longer holds. */
function gone({ sent }: Subscription, resources: Resources): string[] {
  if (!resources.complete) return [];
  return [...sent].flatMap(([name, last]) =>
    last !== null && resources.get(name) === undefined ? [name] : [],
  );
}

function record(subscription: Subscription, { nonce, resource, removed }: DeltaResponse): Subscription {
  const sent = new Map(subscription.sent);
  if (resource !== null) sent.set(resource.name, { version: resource.version, nonce, answer: 'open' });
  for (const name of removed) sent.set(name, null);
  return { ...subscription, sent, nonce: Number(nonce), writable: false };
}
