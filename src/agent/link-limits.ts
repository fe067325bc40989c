/** What the two sides of the link agree on; each refuses what is beyond. */
export const LINK_LIMITS = {
  /** A message to a server: a batch of requests, or a report of 1,000 instances. */
  upBytes: 8 * 1024 * 1024,
  /** A message to an agent: 10,000 entries, a bundle whose CRLs name 50,000 certificates, and as many denials. */
  downBytes: 64 * 1024 * 1024,
  /** Certificates wanted in one call. */
  wanted: 256,
  /** Of one workload. */
  selectors: 256,
  instanceBytes: 256,
  /** Of JSON, UTF-8. */
  evidenceBytes: 8 * 1024,
  /** Random, of one start of an agent. */
  runIdBytes: 16,
  versionBytes: 64,
  /** Instances in one report. */
  records: 1000,
  /** Name of an agent's socket. */
  socketBytes: 1024,
} as const;
