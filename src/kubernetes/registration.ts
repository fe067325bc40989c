import type { Clock } from '../clock.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { EntryInput, EntryStore } from '../policy/entry-store.ts';
import { parseEntry } from '../policy/parse-entry.ts';
import type { KubernetesClient } from './client.ts';
import { Passes } from './passes.ts';
import { type Pod, podOf } from './pod.ts';
import { ResourceWatch } from './resource-watch.ts';
import {
  ENTRY_PREFIX,
  type EntryDocument,
  entryOf,
  groupsOf,
  keepRecent,
  type SeenGroup,
} from './rule-entries.ts';
import type { Rules } from './rules.ts';
import { type Service, serviceOf } from './service.ts';

/** The entries, and who made them. */
export interface RuleEntryStore extends Pick<EntryStore, 'apply' | 'delete'> {
  /** Live entries whose ID begins so, with the actor of their last version. */
  makers(idPrefix: string): Promise<readonly { readonly id: string; readonly actor: string }[]>;
}

export interface RegistrationOptions {
  readonly client: KubernetesClient;
  readonly store: RuleEntryStore;
  readonly rules: Rules;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly onChanged: (change: {
    readonly rule: string;
    readonly written: number;
    readonly deleted: number;
  }) => void;
  /** Something that leaves a pod without its entry, in words for the log. */
  readonly onProblem: (problem: string) => void;
  readonly onFailed: (error: unknown, failures: number) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

const ACTOR_PREFIX = 'rule:';
/** A pod of the cluster's largest size, 150,000, takes about 1 KiB here. */
const MAX_PODS = 200_000;
const MAX_SERVICES = 20_000;
/** Of all rules together: a fifth of what there may be. */
const MAX_ENTRIES = 20_000;
/** Entries written in one transaction. */
const BATCH = 500;
const GATHER_MS = 250;
const EVERY_MS = 60_000;

/**
 * Keeps the entries that the rules make in step with the cluster's pods and Services. They are entries like any
 * other, made by `rule:<name>`; one that somebody else has changed, or made under such an ID, is left to him.
 */
export class Registration {
  readonly #options: RegistrationOptions;
  readonly #pods: ResourceWatch<Pod>;
  readonly #services: ResourceWatch<Service>;
  readonly #passes: Passes;
  #seen: ReadonlyMap<string, SeenGroup> = new Map();
  /** What was last found or made as it should be, and when. */
  #settled: { readonly text: string; readonly at: number } | null = null;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    const { client, onFailed, random } = options;
    const shared = { client, onChange: () => this.#passes.wake(), onFailed, random };
    this.#passes = new Passes({
      work: () => this.#pass(),
      gatherMs: GATHER_MS,
      everyMs: EVERY_MS,
      onFailed,
      random,
    });
    this.#pods = new ResourceWatch({ ...shared, path: '/api/v1/pods', view: podOf, maxObjects: MAX_PODS });
    this.#services = new ResourceWatch({
      ...shared,
      path: '/api/v1/services',
      view: serviceOf,
      maxObjects: MAX_SERVICES,
    });
  }

  async close(): Promise<void> {
    await this.#pods.close();
    await this.#services.close();
    await this.#passes.close();
  }

  async #pass(): Promise<void> {
    if (!this.#pods.listed || !this.#services.listed) return;
    const wanted = this.#wanted();
    const { store, clock, onProblem } = this.#options;
    // Pods come and go all the time; what entries there are to be seldom changes with them.
    const text = JSON.stringify(wanted);
    if (this.#settled?.text === text && clock() - this.#settled.at < EVERY_MS) return;
    const makers = await store.makers(ENTRY_PREFIX);
    const foreign = new Set(
      makers.filter(({ actor }) => !actor.startsWith(ACTOR_PREFIX)).map(({ id }) => id),
    );
    for (const [rule, documents] of Map.groupBy(wanted, ({ rule }) => rule)) {
      const own = documents.filter(({ document: { id } }) => !foreign.has(id));
      await this.#write(
        rule,
        own.map(({ document }) => document),
      );
    }
    if (this.#pods.truncated || this.#services.truncated)
      return onProblem('there are more pods or Services than are kept: no entry is removed');
    const kept = new Set(wanted.map(({ document: { id } }) => id));
    for (const { id, actor } of makers) if (!foreign.has(id) && !kept.has(id)) await this.#remove(id, actor);
    this.#settled = { text, at: clock() };
  }

  /** What there should be, by ID. */
  #wanted(): { readonly rule: string; readonly document: EntryDocument }[] {
    const { rules, clock, onProblem } = this.#options;
    const current = groupsOf(rules.rules, this.#pods.objects.values(), this.#services.objects.values());
    this.#seen = keepRecent(this.#seen, current, clock(), rules.lingerSeconds * 1000);
    const wanted = [...this.#seen.values()].flatMap(({ group }) => {
      const document = entryOf(group, this.#services.objects, rules);
      return document === null ? [] : [{ rule: group.rule.name, document }];
    });
    if (wanted.length > MAX_ENTRIES)
      onProblem(`the rules make ${wanted.length} entries, and ${MAX_ENTRIES} are kept: use fewer rules`);
    return wanted.sort((a, b) => (a.document.id < b.document.id ? -1 : 1)).slice(0, MAX_ENTRIES);
  }

  async #write(rule: string, documents: readonly EntryDocument[]): Promise<void> {
    const inputs = documents.flatMap((document) => this.#parse(document) ?? []);
    for (let at = 0; at < inputs.length; at += BATCH) {
      const batch = inputs.slice(at, at + BATCH);
      const { created, updated } = await this.#options.store.apply(batch, ACTOR_PREFIX + rule);
      const written = created.length + updated.length;
      if (written > 0) this.#options.onChanged({ rule, written, deleted: 0 });
    }
  }

  /** What the cluster calls things may not do for an entry: then the others must not suffer. */
  #parse(document: EntryDocument): EntryInput | null {
    try {
      return parseEntry(document, this.#options.trustDomain);
    } catch (error) {
      if (!(error instanceof CarnetError)) throw error;
      this.#options.onProblem(`entry ${document.id}: ${error.message}`);
      return null;
    }
  }

  async #remove(id: string, actor: string): Promise<void> {
    try {
      await this.#options.store.delete(id, actor);
    } catch (error) {
      if (errorCodeOf(error) !== 'not_found') throw error;
    }
    this.#options.onChanged({ rule: actor.slice(ACTOR_PREFIX.length), written: 0, deleted: 1 });
  }
}
