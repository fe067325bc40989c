import { parseSelector, type Selector } from '../identity/selector.ts';
import type { ProcessFacts } from './process.ts';

/** What a platform's agent tells of a process, beside what the kernel does. */
export interface Findings {
  /** Sorted, without repeats. */
  readonly selectors: readonly Selector[];
  /** As it is recorded with each issuance: JSON-safe, at most 2 KiB. */
  readonly evidence: Readonly<Record<string, unknown>>;
}

/** Asks a platform about a process, which the caller looks at before and after: it is the same one all the while. */
export interface WorkloadAttestor {
  /** The name of its part of the evidence. */
  readonly method: string;
  /**
   * Null for a process that isn't the platform's. Answers in bounded time. Throws `attestation_failed` where what is
   * told can't be true, `unavailable` or `timeout` where nothing is told now: then the caller may connect again.
   */
  attest(facts: ProcessFacts): Promise<Findings | null>;
}

/** A selector's `type:key`, and its value where there is one. */
export type Found = readonly [key: string, value: string | number | null];

/**
 * The selectors of what was found, sorted, without repeats. A value that isn't known, or that no selector can hold
 * (one of 2 KiB, say), makes none: that can only take grants away.
 */
export function foundSelectors(found: readonly Found[]): Selector[] {
  return [...new Set(found.flatMap(([key, value]) => selectorOf(key, value)))].sort();
}

function selectorOf(key: string, value: string | number | null): Selector[] {
  if (value === null) return [];
  try {
    return [parseSelector(`${key}:${value}`)];
  } catch {
    return [];
  }
}
