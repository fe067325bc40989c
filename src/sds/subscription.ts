import { CarnetError } from '../errors.ts';
import type { Resource, Resources } from './resource.ts';

/**
 * What a stream asks for, and what it was sent: the part of a stream's state that the state-of-the-world and
 * the delta protocol have in common. What is due is not stored but derived, by comparing with the caller's
 * resources: so a proxy that doesn't read costs no queue and gets the latest when it reads again.
 */
export interface Subscription {
  /** By the names asked for, in the order of asking; null: not sent since it was asked for. */
  readonly sent: ReadonlyMap<string, Sent | null>;
  /** Names last reported as asked for and not available. */
  readonly waiting: readonly string[];
  /** Number of responses sent; the last one's nonce is this number. */
  readonly nonce: number;
  /** False from a response until the transport has taken it. */
  readonly writable: boolean;
}

export interface Sent {
  readonly version: string;
  /** Of the last response that held it; the empty string for what the proxy kept from an earlier stream. */
  readonly nonce: string;
  /** `repeated`: acknowledged before, and part of a later response that is still open. */
  readonly answer: 'open' | 'repeated' | 'acknowledged' | 'rejected';
}

/** What happened, for the {@link StreamObserver}; the kinds are its methods. */
export type Report =
  | { readonly kind: 'kept'; readonly name: string; readonly version: string }
  | {
      readonly kind: 'sent';
      readonly name: string;
      readonly version: string;
      readonly expiresAt: Date | null;
    }
  | { readonly kind: 'acknowledged'; readonly name: string; readonly version: string }
  | { readonly kind: 'rejected'; readonly name: string; readonly version: string; readonly message: string }
  | { readonly kind: 'waiting'; readonly names: readonly string[] }
  | { readonly kind: 'dropped'; readonly name: string };

export const EMPTY_SUBSCRIPTION: Subscription = { sent: new Map(), waiting: [], nonce: 0, writable: true };

/** Names that one stream may ask for at once. Envoy asks for one a stream; a client of ours for a few. */
export const MAX_NAMES = 100;
/** SPIFFE-ID §2.3: 2048 bytes is the longest ID, and no other name is longer. */
export const MAX_NAME_LENGTH = 2048;
/** Of all names of a stream together, so that names alone never make a stream expensive. */
export const MAX_NAMES_LENGTH = 32 * 1024;

/** Longer than any version of ours: what claims to be one and isn't need not be remembered. */
export const MAX_VERSION_LENGTH = 64;

/** Whether a proxy's word for what it has can be a version of ours. */
export function isPlausible(version: string): boolean {
  return version !== '' && version.length <= MAX_VERSION_LENGTH;
}

/** Throws `invalid_argument` for a name, or names together, past the limits. */
export function checkNames(names: Iterable<string>): void {
  let count = 0;
  let length = 0;
  for (const name of names) {
    if (name.length > MAX_NAME_LENGTH)
      throw new CarnetError(
        'invalid_argument',
        `a resource name of ${name.length} characters is too long: ask for names of at most ${MAX_NAME_LENGTH}`,
      );
    count++;
    length += name.length;
  }
  if (count > MAX_NAMES)
    throw new CarnetError(
      'invalid_argument',
      `${count} resource names are too many: ask for at most ${MAX_NAMES} on one stream`,
    );
  if (length > MAX_NAMES_LENGTH)
    throw new CarnetError(
      'invalid_argument',
      `resource names of ${length} characters together are too many: ask for at most ${MAX_NAMES_LENGTH}`,
    );
}

/** What is asked for and available, in the order of asking. */
export function availableOf({ sent }: Subscription, resources: Resources): Resource[] {
  return [...sent.keys()].map((name) => resources.get(name)).filter((resource) => resource !== undefined);
}

/** Of these resources, those that were not sent in this version. */
export function unsentOf({ sent }: Subscription, available: readonly Resource[]): Resource[] {
  return available.filter(({ name, version }) => sent.get(name)?.version !== version);
}

/**
 * Takes the proxy's answer to all that the response `nonce` held: `error` null accepts it. What was only
 * repeated in it counts with the rest, but is not reported. A request without a nonce answers nothing.
 */
export function settle(
  subscription: Subscription,
  nonce: string,
  error: string | null,
): { subscription: Subscription; reports: Report[] } {
  const reports: Report[] = [];
  if (nonce === '') return { subscription, reports };
  const sent = new Map(subscription.sent);
  for (const [name, last] of sent) {
    if (last?.nonce !== nonce || (last.answer !== 'open' && last.answer !== 'repeated')) continue;
    sent.set(name, { ...last, answer: error === null ? 'acknowledged' : 'rejected' });
    if (last.answer === 'open') reports.push(answerReport(name, last.version, error));
  }
  return { subscription: { ...subscription, sent }, reports };
}

function answerReport(name: string, version: string, error: string | null): Report {
  return error === null
    ? { kind: 'acknowledged', name, version }
    : { kind: 'rejected', name, version, message: error };
}

/** Reports the names that wait, if they are others than before. */
export function noteWaiting(
  subscription: Subscription,
  resources: Resources,
): { subscription: Subscription; reports: Report[] } {
  const waiting = [...subscription.sent.keys()].filter((name) => resources.get(name) === undefined);
  const same =
    waiting.length === subscription.waiting.length &&
    waiting.every((name, i) => name === subscription.waiting[i]);
  return same
    ? { subscription, reports: [] }
    : { subscription: { ...subscription, waiting }, reports: [{ kind: 'waiting', names: waiting }] };
}

export function sentReport({ name, version, expiresAt }: Resource): Report {
  return { kind: 'sent', name, version, expiresAt };
}
