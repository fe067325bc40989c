import { CarnetError } from '../../errors.ts';
import type { Bundle, Entry, SessionResponse } from '../../gen/carnet/agent/v1/agent.ts';
import { parseSelector } from '../../identity/selector.ts';
import { parseTrustDomain, type TrustDomain } from '../../identity/spiffe-id.ts';
import type { TrustBundle } from '../../identity/trust-bundle.ts';
import type { RegistrationEntry } from '../../policy/entry.ts';
import { EntryIndex } from '../../policy/entry-index.ts';
import type { DenialScope } from '../../revocation/denial.ts';

/** What the servers told last of all that this node needs to know. Immutable: a response makes a new one. */
export interface Held {
  readonly index: EntryIndex;
  readonly bundle: TrustBundle;
  /** Of other trust domains. One that has not changed is the same object. */
  readonly federated: ReadonlyMap<TrustDomain, TrustBundle>;
  readonly denials: readonly DenialScope[];
  /** IDs of authorities whose leaves are to be replaced. */
  readonly wave: ReadonlySet<string>;
  readonly urgent: ReadonlySet<string>;
  /** The same, whole, as it would be received: it outlives a restart in the cache. */
  readonly message: SessionResponse;
}

/** Twice what a trust domain may have. */
const MAX_ENTRIES = 200_000;
/** Twice what may be in force. */
const MAX_DENIALS = 100_000;

/**
 * What is held after a response: the first one must be whole, of a later one the parts that it has are new. A bundle
 * with a lower sequence than the one that is held comes from a server that lags behind, and is left. Throws
 * `invalid_argument` for what no server of ours sends.
 */
export function take(held: Held | null, response: SessionResponse, trustDomain: TrustDomain): Held {
  const { entries, denials, superseded, federated } = response;
  const bundle = response.bundle && bundleOf(response.bundle, trustDomain);
  if (held === null && (entries === undefined || bundle === undefined))
    throw refused('its first message has no entries or no trust bundle');
  const newer = bundle !== undefined && (held === null || bundle.sequence > held.bundle.sequence);
  const message: SessionResponse = {
    entries: entries ?? held?.message.entries,
    bundle: newer ? response.bundle : held?.message.bundle,
    denials: denials ?? held?.message.denials,
    superseded: superseded ?? held?.message.superseded,
    federated: federated ?? held?.message.federated,
  };
  return {
    index: entries === undefined && held !== null ? held.index : indexOf(message),
    bundle: newer ? bundle : bundleIn(held),
    federated: federated === undefined && held !== null ? held.federated : federatedOf(message, held),
    denials: denials === undefined && held !== null ? held.denials : denialsOf(message),
    wave: new Set(message.superseded?.wave),
    urgent: new Set(message.superseded?.urgent),
    message,
  };
}

/** Checks what a bundle must have. Throws `invalid_argument`. */
export function bundleOf(bundle: Bundle, trustDomain: TrustDomain): TrustBundle {
  if (bundle.trustDomain !== trustDomain)
    throw refused(
      `its trust domain is ${bundle.trustDomain}, and ours is ${trustDomain}: see --trust-domain`,
    );
  if (bundle.x509Authorities.length === 0) throw refused('its trust bundle is empty');
  return { ...bundle, trustDomain };
}

function bundleIn(held: Held | null): TrustBundle {
  if (held === null) throw refused('it sent no trust bundle');
  return held.bundle;
}

function indexOf({ entries }: SessionResponse): EntryIndex {
  const list = entries?.entries ?? [];
  if (list.length > MAX_ENTRIES) throw refused(`it sent ${list.length} entries, more than ${MAX_ENTRIES}`);
  return new EntryIndex(list.map(entryOf));
}

function entryOf(entry: Entry): RegistrationEntry {
  return {
    id: entry.id,
    version: entry.version,
    spiffeId: entry.spiffeId,
    selectors: entry.selectors.map(parseSelector),
    dnsNames: entry.dnsNames,
    ttlSeconds: entry.ttlSeconds === 0 ? null : entry.ttlSeconds,
    hint: entry.hint === '' ? null : entry.hint,
    federatesWith: entry.federatesWith.map(parseTrustDomain),
  };
}

function federatedOf(
  { federated, bundle: own }: SessionResponse,
  held: Held | null,
): ReadonlyMap<TrustDomain, TrustBundle> {
  const bundles = new Map<TrustDomain, TrustBundle>();
  for (const bundle of federated?.bundles ?? []) {
    // A foreign bundle never vouches for our own names.
    if (bundle.trustDomain === own?.trustDomain) throw refused('it calls our own trust domain a foreign one');
    const trustDomain = parseTrustDomain(bundle.trustDomain);
    const before = held?.federated.get(trustDomain);
    bundles.set(trustDomain, before?.sequence === bundle.sequence ? before : { ...bundle, trustDomain });
  }
  return bundles;
}

function denialsOf({ denials }: SessionResponse): DenialScope[] {
  const list = denials?.denials ?? [];
  if (list.length > MAX_DENIALS) throw refused(`it sent ${list.length} denials, more than ${MAX_DENIALS}`);
  return list.map(({ identity, instance, node }) => ({
    identity: identity || null,
    instance: instance || null,
    node: node || null,
    liftedAt: null,
  }));
}

function refused(why: string): CarnetError {
  return new CarnetError('invalid_argument', `the server is not one of ours: ${why}`);
}
