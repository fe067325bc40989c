export interface WorkloadApiLimits {
  /** Streams and calls open at once, of all callers. */
  readonly streams: number;
  /** Streams and calls open at once, of one instance. */
  readonly streamsPerInstance: number;
  /** How long a stream's first message waits for certificates that are being issued. */
  readonly firstMessageMs: number;
  /** Identities of one caller for which tokens are made in one call. */
  readonly tokens: number;
  /** From a call's end here to the end that its peer must then make of it. */
  readonly graceMs: number;
}

/** Ours. A program has up to three streams, and as many calls under way as it handles requests. */
export const DEFAULT_LIMITS: WorkloadApiLimits = {
  streams: 20_000,
  streamsPerInstance: 200,
  firstMessageMs: 5_000,
  tokens: 32,
  graceMs: 5_000,
};
