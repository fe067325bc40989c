import type { Attestation } from './attestation.ts';

/** Evidence is stored with each issuance: labels can be many. */
const MAX_SELECTORS_BYTES = 4096;

/**
 * The evidence as it goes on record: with the selectors that the rules were held against, so that it can be told later why
 * each did or didn't match. Those that would take more than 4 KiB are left out, and counted.
 */
export function recordedEvidence({
  evidence,
  selectors,
}: Pick<Attestation, 'evidence' | 'selectors'>): Readonly<Record<string, unknown>> {
  if (selectors.length === 0) return evidence;
  let left = MAX_SELECTORS_BYTES;
  const kept = selectors.filter((selector) => {
    left -= Buffer.byteLength(selector);
    return left >= 0;
  });
  const leftOut = selectors.length - kept.length;
  return { ...evidence, selectors: kept, ...(leftOut > 0 && { selectors_left_out: leftOut }) };
}
