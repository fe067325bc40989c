import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';

/** How a bundle endpoint is authenticated (SPIFFE Federation §5.2). */
export const PROFILES = ['https_web', 'https_spiffe'] as const;

/** Where a trust domain publishes its bundle. */
export type Endpoint =
  /** By a certificate of a public CA. */
  | { readonly profile: 'https_web'; readonly url: string }
  /** By an X.509-SVID of the trust domain itself, which its last known bundle verifies. */
  | { readonly profile: 'https_spiffe'; readonly url: string; readonly spiffeId: SpiffeId };

/** Another trust domain, which an operator made known to us, and what is trusted of it. */
export interface Federation {
  readonly trustDomain: TrustDomain;
  /** Null: its bundle comes from an operator's hand only. */
  readonly endpoint: Endpoint | null;
  /** Null before the first one was accepted. */
  readonly bundle: ForeignBundle | null;
  /** When the endpoint last gave a bundle that was accepted, changed or not. */
  readonly checkedAt: Date | null;
  /** When the endpoint is asked next; null without one. */
  readonly nextRefreshAt: Date | null;
  /** In a row since the last success, and what the last one said. */
  readonly failures: number;
  readonly problem: string | null;
  readonly createdAt: Date;
}

/** A bundle as it was accepted. */
export interface ForeignBundle {
  /** Ours, grows with every change of any foreign bundle: the publisher's sequence may be missing, or of any size. */
  readonly revision: number;
  /** The publisher's `spiffe_sequence`; null where it has none. */
  readonly sequence: bigint | null;
  readonly refreshHintSeconds: number | null;
  /** To the letter. */
  readonly document: string;
  /** Of the document, lower-case hex. */
  readonly sha256: string;
  readonly changedAt: Date;
}

export interface NewFederation {
  readonly trustDomain: TrustDomain;
  readonly endpoint: Endpoint | null;
  /** Null: the first one is fetched, which `https_spiffe` can't. */
  readonly bundle: AcceptedBundle | null;
}

/** A document that may be stored: see accept-bundle.ts. */
export type AcceptedBundle = Omit<ForeignBundle, 'revision' | 'changedAt'>;

/** What one replica alone may fetch now. */
export interface Claim {
  readonly id: string;
  readonly federation: Federation;
}

/**
 * The federations in Postgres. Each change of a bundle, and each creation and deletion, is one transaction together
 * with its operator event, and wakes every replica.
 */
export interface FederationStore {
  /** All, by trust domain. */
  list(): Promise<Federation[]>;
  /** Throws `already_exists`, and `conflict` past the limit on their number. */
  create(federation: NewFederation, actor: string): Promise<Federation>;
  /** Throws `not_found`. Resolves to the last state. */
  delete(trustDomain: TrustDomain, actor: string): Promise<Federation>;
  /** Puts a bundle in the place of the one there is. Throws `not_found`. */
  setBundle(trustDomain: TrustDomain, bundle: AcceptedBundle, actor: string): Promise<Federation>;
  /** Takes the one that has been due for longest, and that nobody else is fetching; null when there is none. */
  claimDue(leaseSeconds: number): Promise<Claim | null>;
  /** Takes this one, due or not. Throws `not_found`; `conflict` without an endpoint, or while another fetches it. */
  claim(trustDomain: TrustDomain, leaseSeconds: number): Promise<Claim>;
  /**
   * Stores what `accept` makes of the bundle that lives then, and gives the claim back. Null when the claim is no
   * longer ours: then nothing changes. What `accept` throws is thrown, and changes nothing either.
   */
  succeed(
    claim: Claim,
    accept: (live: ForeignBundle | null) => AcceptedBundle,
    nextInSeconds: (bundle: AcceptedBundle) => number,
    actor: string,
  ): Promise<Federation | null>;
  /** Gives the claim back, with what went wrong. */
  fail(claim: Claim, problem: string, nextInSeconds: number): Promise<void>;
}
