import { type Entry, SessionResponse } from '../../gen/carnet/agent/v1/agent.ts';
import type { Selector } from '../../identity/selector.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import type { TrustBundle } from '../../identity/trust-bundle.ts';
import type { RegistrationEntry } from '../../policy/entry.ts';
import type { Denial } from '../../revocation/denial.ts';
import { bundleMessage } from './encode-bundle.ts';

/** All that nodes may have to know, as this replica has it now. */
export interface LinkState {
  readonly entries: readonly RegistrationEntry[];
  readonly bundle: TrustBundle;
  readonly denials: readonly Denial[];
  /** IDs of authorities whose leaves are to be replaced. */
  readonly superseded: { readonly wave: readonly string[]; readonly urgent: readonly string[] };
  /** Of other trust domains. */
  readonly federated: ReadonlyMap<TrustDomain, TrustBundle>;
}

export const PARTS = ['entries', 'bundle', 'denials', 'superseded', 'federated'] as const;
export type Part = (typeof PARTS)[number];

/** A node, as far as its state depends on it. */
export interface NodeView {
  readonly node: string;
  readonly selectors: readonly Selector[];
}

const NOTHING: SessionResponse = {
  entries: undefined,
  bundle: undefined,
  denials: undefined,
  superseded: undefined,
  federated: undefined,
};

/**
 * The state of nodes, encoded. A part is a SessionResponse that has this part alone: one behind the other they are one
 * message with all of them. It is encoded once for all nodes for which it is the same; and while it stays the same it is
 * the same object, so that who was sent it is owed nothing.
 */
export class NodeStates {
  #state: LinkState;
  #split: SplitEntries;
  readonly #encoded = new Map<Part, Map<string, Buffer>>(PARTS.map((part) => [part, new Map()]));
  readonly #before = new Map<Part, Map<string, Buffer>>(PARTS.map((part) => [part, new Map()]));

  constructor(state: LinkState) {
    this.#state = state;
    this.#split = splitEntries(state.entries);
  }

  /**
   * From now on this is the state. False if it is as it was: it is read anew at times, and mostly for nothing. Entries of
   * the same version are the same, so are denials that are in force.
   */
  replace(state: LinkState): boolean {
    if (isSame(this.#state, state)) return false;
    if (!isSameList(this.#state.entries, state.entries, versionOf)) this.#split = splitEntries(state.entries);
    this.#state = state;
    for (const part of PARTS) {
      this.#before.set(part, this.#encoded.get(part) ?? new Map());
      this.#encoded.set(part, new Map());
    }
    return true;
  }

  /** Of what of the bundle verifiers use. */
  get bundleSequence(): number {
    return this.#state.bundle.x509Sequence;
  }

  part(part: Part, view: NodeView): Buffer {
    switch (part) {
      case 'entries':
        return this.#entries(view);
      case 'bundle':
        return this.#encode(part, '', () => ({ ...NOTHING, bundle: bundleMessage(this.#state.bundle) }));
      case 'denials':
        return this.#denials(view);
      case 'superseded':
        return this.#encode(part, '', () => ({ ...NOTHING, superseded: this.#superseded() }));
      case 'federated':
        return this.#federated(view);
    }
  }

  #entries(view: NodeView): Buffer {
    const own = this.#split.ofNodes.filter((entry) => fits(entry, view));
    const key = own.map(versionOf).join('\n');
    return this.#encode('entries', key, () => ({
      ...NOTHING,
      entries: { entries: [...this.#split.ofAll, ...own].map(entryMessage) },
    }));
  }

  /** Also those that the node itself is meant by. */
  #denials({ node }: NodeView): Buffer {
    const denials = this.#state.denials.filter(
      (denial) => denial.liftedAt === null && (denial.node === null || denial.node === node),
    );
    const key = denials.map(({ id }) => id).join(' ');
    return this.#encode('denials', key, () => ({
      ...NOTHING,
      denials: {
        denials: denials.map(({ identity, instance, node: of }) => ({
          identity: identity ?? '',
          instance: instance ?? '',
          node: of ?? '',
        })),
      },
    }));
  }

  #federated(view: NodeView): Buffer {
    const entries = [...this.#split.federating.filter((entry) => fits(entry, view))];
    const domains = [...new Set(entries.flatMap(({ federatesWith }) => federatesWith))].sort();
    const bundles = domains.flatMap((domain) => this.#state.federated.get(domain) ?? []);
    return this.#encode('federated', domains.join(' '), () => ({
      ...NOTHING,
      federated: { bundles: bundles.map(bundleMessage) },
    }));
  }

  #superseded() {
    const { wave, urgent } = this.#state.superseded;
    return { wave: [...wave], urgent: [...urgent] };
  }

  #encode(part: Part, key: string, message: () => SessionResponse): Buffer {
    const known = this.#encoded.get(part)?.get(key);
    if (known !== undefined) return known;
    const fresh = Buffer.from(SessionResponse.encode(message()).finish());
    const before = this.#before.get(part)?.get(key);
    const bytes = before?.equals(fresh) === true ? before : fresh;
    this.#encoded.get(part)?.set(key, bytes);
    return bytes;
  }
}

function isSame(a: LinkState, b: LinkState): boolean {
  return (
    a.bundle === b.bundle &&
    a.federated === b.federated &&
    a.superseded.wave.join() === b.superseded.wave.join() &&
    a.superseded.urgent.join() === b.superseded.urgent.join() &&
    isSameList(a.entries, b.entries, versionOf) &&
    isSameList(a.denials, b.denials, ({ id, liftedAt }) => `${id} ${liftedAt === null}`)
  );
}

function isSameList<T>(a: readonly T[], b: readonly T[], keyOf: (item: T) => string): boolean {
  if (a === b) return true;
  return a.length === b.length && a.every((item, i) => keyOf(item) === keyOf(b[i] ?? item));
}

function versionOf({ id, version }: RegistrationEntry): string {
  return `${id} ${version}`;
}

interface SplitEntries {
  /** Without a selector of a node. */
  readonly ofAll: readonly RegistrationEntry[];
  readonly ofNodes: readonly RegistrationEntry[];
  readonly federating: readonly RegistrationEntry[];
}

function splitEntries(entries: readonly RegistrationEntry[]): SplitEntries {
  return {
    ofAll: entries.filter(({ selectors }) => !selectors.some(isOfNode)),
    ofNodes: entries.filter(({ selectors }) => selectors.some(isOfNode)),
    federating: entries.filter(({ federatesWith }) => federatesWith.length > 0),
  };
}

/** Whether the node has what selectors of nodes the entry has. */
function fits({ selectors }: RegistrationEntry, view: NodeView): boolean {
  return selectors.every((selector) => !isOfNode(selector) || view.selectors.includes(selector));
}

/** Whether a selector says something of a node: never by an agent's own word. */
export function isOfNode(selector: Selector): boolean {
  return selector.startsWith('node:');
}

function entryMessage(entry: RegistrationEntry): Entry {
  return {
    id: entry.id,
    version: entry.version,
    spiffeId: entry.spiffeId,
    selectors: [...entry.selectors],
    dnsNames: [...entry.dnsNames],
    ttlSeconds: entry.ttlSeconds ?? 0,
    federatesWith: [...entry.federatesWith],
    hint: entry.hint ?? '',
  };
}
