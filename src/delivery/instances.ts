import type { Attestation } from '../attestation/attestation.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Grant } from '../policy/entry.ts';
import {
  type Certificate,
  failed,
  isDue,
  issued,
  type KeptSvid,
  resumed,
  retried,
  servable,
  wanted,
} from './certificate.ts';
import type { Holder, X509Svid } from './holdings.ts';
import {
  certificateKey,
  connected,
  createInstance,
  type Instance,
  needsAttention,
  reconcile,
  replaceSuperseded,
  type Superseded,
  View,
  viewKey,
} from './instance.ts';

/** What delivery needs of its surroundings. */
export interface InstancesOptions {
  /** Makes a key and gets it certified and recorded. Rejects without effect when it cannot. */
  readonly issue: (grant: Grant, attestation: Attestation) => Promise<X509Svid>;
  /** What the registration entries grant to this caller now, in the order in which they are handed out. */
  readonly grantsOf: (attestation: Attestation) => readonly Grant[];
  readonly bundle: () => TrustBundle;
  /** Other trust domains' bundles; by default none. One that has not changed must be the same object. */
  readonly federated?: () => ReadonlyMap<TrustDomain, TrustBundle>;
  readonly clock: Clock;
  /** In [0, 1): spreads renewals and retries. */
  readonly random: () => number;
  readonly onIssued: (svid: X509Svid, instance: string) => void;
  readonly onFailed: (failure: IssueFailure) => void;
  /** An instance's leaf will not be handed out any more, and none took its place. */
  readonly onWithdrawn?: (instance: string) => void;
  /**
   * Whether leaves of this authority are to be replaced now: in waves, or as fast as can be. By default they are
   * replaced only as they age. Asked at each `tick()`, once for each authority.
   */
  readonly isSuperseded?: (authority: string) => Superseded;
  /** Takes what was held of the grant before a restart, once; undefined where nothing was. */
  readonly takeKept?: (instance: string, grant: Grant) => KeptSvid | undefined;
  readonly limits?: Partial<InstancesLimits>;
}

export interface IssueFailure {
  readonly instance: string;
  readonly identity: string;
  readonly error: unknown;
  /** Failures in a row so far. */
  readonly attempts: number;
  /** End of what is still held (milliseconds since the epoch), or null: the workload has nothing. */
  readonly expiresAt: number | null;
}

/** What the agent holds and how it fares, in numbers. */
export interface InstanceStats {
  readonly instances: number;
  readonly certificates: number;
  /** Of which the last try to issue failed. */
  readonly failing: number;
}

export interface InstancesLimits {
  /** Instances remembered, connected or not. */
  readonly instances: number;
  /** Kinds of caller remembered of one instance. */
  readonly views: number;
  /** Issuances under way at once; the recorder gathers them into few commits. */
  readonly concurrency: number;
  /** Leaves of a superseded authority that are replaced by one `tick()`; neither database nor proxies are flooded. */
  readonly wave: number;
}

/**
 * Ours. Issuances that are recorded together are finished in one turn of the event loop, in which nobody else is
 * served: for 0.16 s with 256 of them, for 0.06 s with 64, and 2,000 take no longer.
 */
const DEFAULT_LIMITS: InstancesLimits = { instances: 20_000, views: 16, concurrency: 64, wave: 250 };

/** A connection's hold on its instance's certificates. */
export interface Attachment {
  readonly holder: Holder;
  /** The connection ended. What was issued is kept while it is valid, for a proxy that reconnects. */
  detach(): void;
}

/**
 * Everything that this node's instances hold, renewed in time. Renewals are planned by the wall clock in
 * `tick()`, which is to be called a few times a second, so a clock that jumps is noticed at once.
 */
export class Instances {
  readonly #options: InstancesOptions;
  readonly #limits: InstancesLimits;
  /** In order of last attachment, so that the first is the first to be forgotten. */
  readonly #instances = new Map<string, Instance>();
  /** Waiting to be issued: each certificate stands in it once. Bounded by the number of certificates. */
  readonly #queue = new Set<QueueKey>();
  readonly #queued = new Map<string, QueueKey>();
  #underWay = 0;
  #closed = false;

  constructor(options: InstancesOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
  }

  /** Throws `overloaded` when as many instances as the limit are connected, `shutting_down` after `close()`. */
  attach(attestation: Attestation): Attachment {
    if (this.#closed) throw new CarnetError('shutting_down', 'the agent is stopping: connect again later');
    const instance = this.#instanceOf(attestation.instance);
    const view = this.#viewOf(instance, attestation);
    view.connections++;
    this.#update(instance);
    let attached = true;
    return {
      holder: view,
      detach: () => {
        if (attached) view.connections--;
        attached = false;
      },
    };
  }

  /** The registration entries changed: everyone's grants are worked out again. */
  entriesChanged(): void {
    for (const instance of this.#instances.values()) {
      for (const view of instance.views.values()) view.grants = this.#options.grantsOf(view.attestation);
      this.#update(instance);
    }
  }

  /** Our own bundle or another trust domain's. */
  bundleChanged(): void {
    for (const instance of this.#instances.values()) this.#refresh(instance);
  }

  /** Renews what is due and forgets what is over. */
  tick(): void {
    const now = this.#options.clock();
    const answers = new Map<string, Superseded>();
    const answerFor = (authority: string): Superseded => {
      const answer = answers.get(authority) ?? this.#options.isSuperseded?.(authority) ?? 'no';
      answers.set(authority, answer);
      return answer;
    };
    let left = this.#limits.wave;
    for (const instance of this.#instances.values()) {
      left = replaceSuperseded(instance, answerFor, left, now);
      if (needsAttention(instance, now)) this.#update(instance);
    }
  }

  /** Gives up all that is held for an instance that has ended; nothing for one that is connected. */
  forget(id: string): void {
    const instance = this.#instances.get(id);
    if (instance !== undefined && !connected(instance)) this.#instances.delete(id);
  }

  /** What could not be issued is tried again at once: who has nothing yet first, then the nearest end. */
  retryFailed(): void {
    const failing: { readonly end: number; readonly instance: Instance; readonly key: string }[] = [];
    for (const instance of this.#instances.values())
      for (const [key, certificate] of instance.certificates)
        if (certificate.attempts > 0 && connected(instance)) {
          instance.certificates.set(key, retried(certificate));
          failing.push({ end: certificate.svid?.notAfter.getTime() ?? 0, instance, key });
        }
    for (const { instance, key } of failing.sort((a, b) => a.end - b.end)) this.#enqueue(instance, key);
    this.#pump();
  }

  /** No more issuances begin. */
  close(): void {
    this.#closed = true;
    this.#queue.clear();
    this.#queued.clear();
  }

  /** The leaves that are held for an instance, and may be handed out at any moment. */
  heldBy(instance: string): X509Svid[] {
    const certificates = [...(this.#instances.get(instance)?.certificates.values() ?? [])];
    return certificates.flatMap(({ svid }) => svid ?? []);
  }

  /** Everything that is held now and valid. */
  *held(): Iterable<KeptSvid & { readonly instance: string }> {
    const now = this.#options.clock();
    for (const { id, certificates } of this.#instances.values())
      for (const certificate of certificates.values()) {
        const svid = servable(certificate, now);
        if (svid !== null) yield { instance: id, svid, issuedBy: certificate.issuedBy ?? 0 };
      }
  }

  stats(): InstanceStats {
    let [certificates, failing] = [0, 0];
    for (const instance of this.#instances.values())
      for (const { svid, attempts } of instance.certificates.values()) {
        if (svid !== null) certificates++;
        if (attempts > 0) failing++;
      }
    return { instances: this.#instances.size, certificates, failing };
  }

  get size(): number {
    return this.#instances.size;
  }

  /** The soonest end (milliseconds since the epoch) of what connected instances hold; null when they hold nothing. */
  soonestExpiry(): number | null {
    let soonest: number | null = null;
    for (const instance of this.#instances.values()) {
      if (!connected(instance)) continue;
      for (const { svid } of instance.certificates.values())
        if (svid !== null) soonest = Math.min(soonest ?? Number.POSITIVE_INFINITY, svid.notAfter.getTime());
    }
    return soonest;
  }

  #instanceOf(id: string): Instance {
    const found = this.#instances.get(id);
    if (found === undefined) this.#makeRoom();
    const instance = found ?? createInstance(id);
    this.#instances.delete(id);
    this.#instances.set(id, instance);
    return instance;
  }

  #makeRoom(): void {
    if (this.#instances.size < this.#limits.instances) return;
    for (const [id, instance] of this.#instances)
      if (!connected(instance)) {
        this.#instances.delete(id);
        return;
      }
    throw new CarnetError(
      'overloaded',
      `${this.#limits.instances} instances are connected to this agent already`,
    );
  }

  #viewOf(instance: Instance, attestation: Attestation): View {
    const key = viewKey(attestation);
    const view = instance.views.get(key) ?? new View(attestation, this.#options.bundle());
    view.attestation = attestation;
    view.grants = this.#options.grantsOf(attestation);
    instance.views.delete(key);
    instance.views.set(key, view);
    for (const [other, idle] of instance.views) {
      if (instance.views.size <= this.#limits.views) break;
      if (idle.connections === 0 && idle !== view) instance.views.delete(other);
    }
    return view;
  }

  #update(instance: Instance): void {
    const now = this.#options.clock();
    const create = (grant: Grant, attestation: Attestation) => this.#create(instance.id, grant, attestation);
    if (reconcile(instance, now, create)) this.#options.onWithdrawn?.(instance.id);
    if (!connected(instance) && instance.certificates.size === 0) {
      this.#instances.delete(instance.id);
      return;
    }
    this.#refresh(instance);
    for (const view of instance.views.values()) {
      if (view.connections === 0) continue;
      for (const grant of view.grants) {
        const key = certificateKey(grant);
        const certificate = instance.certificates.get(key);
        if (certificate !== undefined && isDue(certificate, now)) this.#enqueue(instance, key);
      }
    }
    this.#pump();
  }

  #create(instance: string, grant: Grant, attestation: Attestation): Certificate {
    const { takeKept, clock, random } = this.#options;
    const kept = takeKept?.(instance, grant);
    if (kept === undefined) return wanted(grant, attestation);
    return resumed(grant, attestation, kept, clock(), random());
  }

  #refresh(instance: Instance): void {
    const now = this.#options.clock();
    const { bundle, federated } = this.#options;
    const trust = { bundle: bundle(), federated: federated?.() ?? new Map() };
    for (const view of instance.views.values()) view.refresh(instance.certificates, trust, now);
  }

  #enqueue(instance: Instance, certificate: string): void {
    const id = `${instance.id}\n${certificate}`;
    if (this.#closed || this.#queued.has(id)) return;
    const key = { id, instance, certificate };
    this.#queued.set(id, key);
    this.#queue.add(key);
  }

  #pump(): void {
    for (const key of this.#queue) {
      if (this.#underWay >= this.#limits.concurrency) return;
      this.#queue.delete(key);
      this.#underWay++;
      void this.#issue(key).finally(() => {
        this.#underWay--;
        this.#queued.delete(key.id);
        this.#pump();
      });
    }
  }

  /** Never rejects: a failure is planned again and reported. */
  async #issue({ instance, certificate: key }: QueueKey): Promise<void> {
    const wanted = instance.certificates.get(key);
    if (wanted === undefined) return;
    const { clock, random } = this.#options;
    const settle = (next: (certificate: Certificate) => Certificate): void => {
      // Withdrawn in the meantime: recorded it may be, but it is not handed out.
      const certificate = instance.certificates.get(key);
      if (certificate !== undefined) instance.certificates.set(key, next(certificate));
      this.#refresh(instance);
    };
    try {
      const svid = await this.#options.issue(wanted.grant, wanted.attestation);
      settle((certificate) => issued(certificate, svid, wanted.grant.entryVersion, clock(), random()));
      this.#options.onIssued(svid, instance.id);
    } catch (error) {
      const message = error instanceof CarnetError ? error.message : 'internal error';
      settle((certificate) => failed(certificate, message, clock(), random()));
      const { attempts = 1 } = instance.certificates.get(key) ?? {};
      this.#options.onFailed({
        instance: instance.id,
        identity: wanted.grant.spiffeId,
        error,
        attempts,
        expiresAt: wanted.svid?.notAfter.getTime() ?? null,
      });
    }
  }
}

interface QueueKey {
  readonly id: string;
  readonly instance: Instance;
  /** Key of the certificate in its instance. */
  readonly certificate: string;
}
