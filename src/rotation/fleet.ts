/** What one instance of the fleet holds, by its agent's word. Times are milliseconds since the epoch. */
export interface Consumer {
  /** `container:…` or `process:…`. */
  readonly instance: string;
  readonly node: string;
  /** What its proxies call themselves: for people, untrusted. */
  readonly names: readonly string[];
  readonly identities: readonly string[];
  /** Open now; 0 for one that may still run, and present what it holds. */
  readonly streams: number;
  /** It has ended: it presents nothing and verifies nobody. */
  readonly gone: boolean;
  /** False where the protocol has no acknowledgement (Workload API): what was sent counts after a hold. */
  readonly acknowledges: boolean;
  /** Where it cannot acknowledge: held for at least so long, unless nobody is held for. By default no longer. */
  readonly minHoldSeconds?: number;
  /** Sequence of the bundle, the least over its streams; null where it does not take its trust from us. */
  readonly bundleSent: number | null;
  readonly bundleSentAt: number | null;
  readonly bundleAcknowledged: number | null;
  /** Seen to be in use, by a look at each of its proxies; null where that could not be had. */
  readonly bundleObserved: number | null;
  /** Until when it is looked at most whether what it acknowledged is in use; null when it is not. */
  readonly observesUntil: number | null;
  /** IDs of the authorities of every certificate that it may present now. */
  readonly authorities: readonly string[];
  /** The last end among these certificates; null when it holds none. */
  readonly holdsUntil: number | null;
  /** Its last refusal, in its own words. */
  readonly problem: string | null;
}

/** Certificates that can still be presented. */
export interface Outstanding {
  readonly count: number;
  /** When the last of them ends, milliseconds since the epoch; null when there is none. */
  readonly until: number | null;
}
