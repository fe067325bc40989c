import type { Selector } from '../identity/selector.ts';

/**
 * Who a caller is by the word of the kernel (and, on a platform, of its agent), never by its own.
 * `instance` is what one certificate belongs to: `container:<id>`, or outside of containers
 * `process:<boot ID>:<pid>:<start time in clock ticks>`.
 */
export interface Attestation {
  readonly instance: string;
  /** All that was found, sorted, without repeats. */
  readonly selectors: readonly Selector[];
  /** What was seen, as it is recorded with each issuance: JSON-safe, no control characters, at most a few KiB. */
  readonly evidence: Readonly<Record<string, unknown>>;
}
