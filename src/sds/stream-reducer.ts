import { type Resource, type Resources, versionOf } from './resource.ts';
import {
  availableOf,
  checkNames,
  EMPTY_SUBSCRIPTION,
  isPlausible,
  MAX_VERSION_LENGTH,
  noteWaiting,
  type Report,
  type Sent,
  type Subscription,
  sentReport,
  settle,
  unsentOf,
} from './subscription.ts';

/** One state-of-the-world stream (`StreamSecrets`): what it asks for and was sent. */
export interface StreamState {
  readonly subscription: Subscription;
  /** `version_info` of the last response. */
  readonly version: string;
}

export type StreamEvent =
  /** A DiscoveryRequest; `error` is null where it has no error_detail. */
  | {
      readonly kind: 'request';
      readonly names: readonly string[];
      readonly version: string;
      readonly nonce: string;
      readonly error: string | null;
    }
  /** The caller's resources may have changed. */
  | { readonly kind: 'changed' }
  /** The transport has taken the last response. */
  | { readonly kind: 'writable' };

/** Everything asked for that is available: the state of the world. */
export interface StreamResponse {
  readonly version: string;
  readonly nonce: string;
  readonly resources: readonly Resource[];
}

export interface StreamReduction {
  readonly state: StreamState;
  readonly response: StreamResponse | null;
  readonly reports: readonly Report[];
}

export const INITIAL_STREAM: StreamState = { subscription: EMPTY_SUBSCRIPTION, version: '' };

/**
 * The state-of-the-world variant of the xDS protocol for secrets, one event at a time; `resources` is what
 * the caller may have now.
 *
 * - A response goes out when the stream asks for something that it wasn't sent, or not in this version. It
 *   holds all that is asked for and available: Envoy's unified mux takes what a response leaves out as gone,
 *   and refuses the response ("Missing SDS resources").
 * - A proxy answers a response as a whole. What was refused beside something else is sent again when the rest
 *   has changed; what was refused alone is not sent again in the same version.
 * - What isn't available is left out and sent when it becomes so. The protocol cannot take a secret back, so
 *   nothing is sent when one goes.
 * - The first request of a stream is always answered, whatever version it names: the proxy may have dropped
 *   what it held under that version, and a repeated secret changes nothing in Envoy.
 * - A request with the nonce of an older response is stale: a later one follows, and it changes nothing. One
 *   without a nonce subscribes and acknowledges nothing.
 *
 * Throws `invalid_argument` past the limits on names; the stream must then end.
 */
export function reduceStream(state: StreamState, event: StreamEvent, resources: Resources): StreamReduction {
  switch (event.kind) {
    case 'changed':
      return respond(state, resources, []);
    case 'writable':
      return respond({ ...state, subscription: { ...state.subscription, writable: true } }, resources, []);
    case 'request':
      return isStale(state, event.nonce)
        ? { state, response: null, reports: [] }
        : respondTo(state, event, resources);
  }
}

function isStale({ subscription }: StreamState, nonce: string): boolean {
  return subscription.nonce > 0 && nonce !== '' && nonce !== String(subscription.nonce);
}

function respondTo(
  state: StreamState,
  request: StreamEvent & { kind: 'request' },
  resources: Resources,
): StreamReduction {
  checkNames(new Set(request.names));
  const answered = settle(state.subscription, request.nonce, errorOf(state, request));
  const { subscription, reports } = ask(answered.subscription, request.names);
  const before = [...keptReports(state, request), ...answered.reports, ...reports];
  return respond({ ...state, subscription }, resources, before);
}

/** What a proxy says at first that it has: of one name alone, as the version of several says nothing of each. */
function keptReports({ subscription }: StreamState, request: StreamEvent & { kind: 'request' }): Report[] {
  const { names, version } = request;
  const [name, ...others] = names;
  if (subscription.sent.size > 0 || subscription.nonce > 0 || name === undefined || others.length > 0)
    return [];
  return isPlausible(version) ? [{ kind: 'kept', name, version }] : [];
}

/** Why a response was refused; null if it was not. A proxy that keeps another version refused it without a word. */
function errorOf(state: StreamState, { version, error }: StreamEvent & { kind: 'request' }): string | null {
  if (error !== null || version === state.version) return error;
  return `the proxy kept version ${JSON.stringify(version.slice(0, MAX_VERSION_LENGTH))} and gave no error detail`;
}

/** From now on the stream asks for just these names. */
function ask(
  subscription: Subscription,
  names: readonly string[],
): { subscription: Subscription; reports: Report[] } {
  const sent = new Map<string, Sent | null>();
  for (const name of names) sent.set(name, subscription.sent.get(name) ?? null);
  const dropped = [...subscription.sent.keys()].filter((name) => !sent.has(name));
  return {
    subscription: { ...subscription, sent },
    reports: dropped.map((name) => ({ kind: 'dropped', name })),
  };
}

function respond(state: StreamState, resources: Resources, before: readonly Report[]): StreamReduction {
  const noted = noteWaiting(state.subscription, resources);
  const { subscription } = noted;
  const reports = [...before, ...noted.reports];
  const available = availableOf(subscription, resources);
  const news = subscription.writable ? newsOf({ ...state, subscription }, available) : [];
  if (news.length === 0) return { state: { ...state, subscription }, response: null, reports };

  const response = {
    version: versionOf(available),
    nonce: String(subscription.nonce + 1),
    resources: available,
  };
  return {
    state: { subscription: record(subscription, response), version: response.version },
    response,
    reports: [...reports, ...news.map(sentReport)],
  };
}

/** What wasn't sent in this version; and what was refused, once it would go out in other company than then. */
function newsOf({ subscription, version }: StreamState, available: readonly Resource[]): Resource[] {
  const news = unsentOf(subscription, available);
  const refused = available.filter(({ name }) => subscription.sent.get(name)?.answer === 'rejected');
  if (news.length === 0 && (refused.length === 0 || versionOf(available) === version)) return [];
  return [...new Set([...news, ...refused])];
}

/** What is left out can no longer be answered, as its nonce is stale from now on. */
function record(subscription: Subscription, { nonce, resources }: StreamResponse): Subscription {
  const sent = new Map(subscription.sent);
  for (const [name, last] of sent)
    if (last?.answer === 'open' || last?.answer === 'repeated') sent.set(name, null);
  for (const { name, version } of resources) {
    const last = subscription.sent.get(name);
    const repeated =
      last?.version === version && (last.answer === 'acknowledged' || last.answer === 'repeated');
    sent.set(name, { version, nonce, answer: repeated ? 'repeated' : 'open' });
  }
  return { ...subscription, sent, nonce: Number(nonce), writable: false };
}
