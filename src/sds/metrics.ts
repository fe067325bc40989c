/** What is counted of this service. */
export interface SdsMetrics {
  /** Streams and fetches open now. */
  streams(open: number): void;
  /** A version of a resource was sent. */
  pushed(): void;
  /** A proxy accepted a version. */
  acknowledged(): void;
  /** A proxy refused a version. */
  rejected(): void;
  /** Names were asked for that the caller may not have: by a stream, or (counted as one) by a fetch. */
  refusedNames(count: number): void;
}
