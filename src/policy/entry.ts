import type { Selector } from '../identity/selector.ts';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';

/**
 * A registration entry: whoever shows all of `selectors` holds `spiffeId`. Immutable; each change makes the
 * next `version`, and every version stays on record.
 */
export interface RegistrationEntry {
  /** Stable name: letters, digits, dots, dashes and underscores, at most 128. */
  readonly id: string;
  /** 1 for the first. */
  readonly version: number;
  /** A whole SPIFFE ID of our trust domain; may hold `{placeholders}` that are filled in from selectors. */
  readonly spiffeId: string;
  /** All must match. At least one. */
  readonly selectors: readonly Selector[];
  readonly dnsNames: readonly string[];
  /** Leaf lifetime; null means the server's default. */
  readonly ttlSeconds: number | null;
  /** What this identity is for, in the operator's words, for workloads with several; null for none. */
  readonly hint: string | null;
  /** Other trust domains whose bundles its holders get too, sorted. */
  readonly federatesWith: readonly TrustDomain[];
}

/** What policy answers: this identity, by this version of this entry. */
export interface Grant {
  readonly entryId: string;
  readonly entryVersion: number;
  readonly spiffeId: SpiffeId;
  readonly dnsNames: readonly string[];
  readonly ttlSeconds: number | null;
  readonly hint: string | null;
  readonly federatesWith: readonly TrustDomain[];
}
