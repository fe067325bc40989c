import type { Attestation } from '../attestation/attestation.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Grant } from '../policy/entry.ts';
import { type Certificate, isDue, regranted, servable, superseded, wanted } from './certificate.ts';
import type { Holder, Holdings } from './holdings.ts';

/**
 * What belongs to one container or process: a certificate for each identity that any of its callers is
 * entitled to, and for each kind of caller (a user in the container, say) a view of those that are its own.
 */
export interface Instance {
  readonly id: string;
  readonly certificates: Map<string, Certificate>;
  /** By the caller's selectors. */
  readonly views: Map<string, View>;
}

/** What may be trusted now: our own trust domain's bundle, and those of all others that we know. */
export interface Trust {
  readonly bundle: TrustBundle;
  readonly federated: ReadonlyMap<TrustDomain, TrustBundle>;
}

export function createInstance(id: string): Instance {
  return { id, certificates: new Map(), views: new Map() };
}

export function certificateKey(grant: Pick<Grant, 'entryId' | 'spiffeId'>): string {
  return `${grant.entryId}\n${grant.spiffeId}`;
}

export function viewKey(attestation: Attestation): string {
  return attestation.selectors.join('\n');
}

/** The callers of an instance that have the same selectors, and so the same holdings. */
export class View implements Holder {
  readonly instance: string;
  /** Connections open now. */
  connections = 0;
  attestation: Attestation;
  grants: readonly Grant[] = [];
  readonly #listeners = new Set<() => void>();
  /** Of trust domains that its entries name or named: without roots, for when nothing of one is trusted. */
  readonly #nothing = new Map<TrustDomain, TrustBundle>();
  #holdings: Holdings;

  constructor(attestation: Attestation, bundle: TrustBundle) {
    this.instance = attestation.instance;
    this.attestation = attestation;
    this.#holdings = { svids: [], bundle, federated: [], complete: false, problem: null };
  }

  current(): Holdings {
    return this.#holdings;
  }

  subscribe(listener: () => void): () => void {
    // A wrapper of its own, so that one function subscribed twice is called twice and ended singly.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Takes what the instance holds now, and tells the listeners if that is a change. */
  refresh(certificates: ReadonlyMap<string, Certificate>, trust: Trust, now: number): void {
    const own = this.grants.map((grant) => certificates.get(certificateKey(grant)));
    const svids = own
      .map((certificate) => certificate && servable(certificate, now))
      .filter((svid) => svid != null);
    const next: Holdings = {
      svids,
      bundle: trust.bundle,
      federated: this.#federated(trust),
      complete: svids.length === own.length,
      problem:
        svids.length === own.length
          ? null
          : (own.find((one) => one?.svid === null && one.problem)?.problem ?? null),
    };
    if (same(this.#holdings, next)) return;
    this.#holdings = next;
    for (const listener of this.#listeners) listener();
  }

  /** A proxy keeps what it is no longer given: so what was trusted once is taken back by a bundle without roots. */
  #federated({ federated }: Trust): TrustBundle[] {
    const named = new Set(this.grants.flatMap(({ federatesWith }) => federatesWith));
    for (const domain of named)
      if (!this.#nothing.has(domain)) this.#nothing.set(domain, withoutRoots(domain));
    return [...this.#nothing]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([domain, nothing]) => (named.has(domain) ? federated.get(domain) : undefined) ?? nothing);
  }
}

/**
 * Brings an instance's certificates in line with what its connected views are granted: makes those wanted,
 * keeps what others hold while it is valid (a proxy that reconnects gets it back), forgets the rest. Returns
 * whether a leaf was forgotten.
 */
export function reconcile(
  instance: Instance,
  now: number,
  create: (grant: Grant, attestation: Attestation) => Certificate = wanted,
): boolean {
  let forgotten = false;
  const granted = new Map<string, { grant: Grant; attestation: Attestation }>();
  for (const { grants, attestation } of instance.views.values())
    for (const grant of grants) granted.set(certificateKey(grant), { grant, attestation });
  for (const [key, certificate] of instance.certificates)
    if (
      !granted.has(key) ||
      (certificate.svid !== null && servable(certificate, now) === null && !connected(instance))
    ) {
      instance.certificates.delete(key);
      forgotten ||= certificate.svid !== null;
    }
  for (const [key, { grant, attestation }] of granted) {
    const certificate = instance.certificates.get(key);
    instance.certificates.set(
      key,
      certificate === undefined ? create(grant, attestation) : regranted(certificate, grant, attestation),
    );
  }
  return forgotten;
}

export type Superseded = 'no' | 'wave' | 'urgent';

/**
 * Makes due what superseded authorities signed for a connected instance: at most `wave` certificates, and any
 * number where it is urgent. One that is due already, or waits to be tried again, is left. Returns what is left
 * of the wave.
 */
export function replaceSuperseded(
  instance: Instance,
  supersededOf: (authority: string) => Superseded,
  wave: number,
  now: number,
): number {
  let left = wave;
  for (const [key, certificate] of instance.certificates) {
    const { svid, attempts } = certificate;
    if (svid === null || attempts > 0 || isDue(certificate, now)) continue;
    const answer = supersededOf(svid.authority);
    if (answer === 'no' || (answer === 'wave' && left === 0) || !connected(instance)) continue;
    instance.certificates.set(key, superseded(certificate));
    if (answer === 'wave') left--;
  }
  return left;
}

/** Whether time alone changes something: a leaf has ended, or is due and somebody is there to have the next. */
export function needsAttention(instance: Instance, now: number): boolean {
  const renews = connected(instance);
  for (const certificate of instance.certificates.values())
    if (
      (renews && isDue(certificate, now)) ||
      (certificate.svid !== null && servable(certificate, now) === null)
    )
      return true;
  return false;
}

export function connected(instance: Instance): boolean {
  for (const view of instance.views.values()) if (view.connections > 0) return true;
  return false;
}

function same(a: Holdings, b: Holdings): boolean {
  return (
    a.bundle === b.bundle &&
    a.complete === b.complete &&
    a.problem === b.problem &&
    sameItems(a.svids, b.svids) &&
    sameItems(a.federated, b.federated)
  );
}

function withoutRoots(trustDomain: TrustDomain): TrustBundle {
  return { trustDomain, sequence: 0, x509Sequence: 0, x509Authorities: [], crls: [], jwtAuthorities: [] };
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
