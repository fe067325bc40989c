import type { ConsumerRecord, HeldRecord } from './member.ts';
import { lastOfEachAuthority } from './slot.ts';

/** What servers take of one instance in a report; they refuse the whole report for more. */
export const RECORD_LIMITS = {
  /** Names, identities, authorities. */
  items: 256,
  /** What only its agent reads again, as JSON. */
  heldBytes: 256 * 1024,
} as const;

/**
 * The same record within the limits, so that one workload with very many streams or identities does not keep what is
 * known of all others from being reported. It counts for no less: without identities it is not known to be revoked, and
 * held in short, certificates count until they end and the oldest bundle for all.
 */
export function fitRecord(record: ConsumerRecord): ConsumerRecord {
  const identities = record.identities.length > RECORD_LIMITS.items ? [] : record.identities;
  const isLong = Buffer.byteLength(JSON.stringify(record.held)) > RECORD_LIMITS.heldBytes;
  return { ...record, identities, held: isLong ? inShort(record) : record.held };
}

function inShort({ held, keepUntil }: ConsumerRecord): HeldRecord {
  const slots = [...held.open, ...held.left].map(({ slot }) => slot);
  const certificates = [...slots.flatMap((slot) => slot.certificates), ...held.lasting, ...held.own];
  const bundles = slots.flatMap(({ bundle }) => bundle ?? []);
  const [oldest] = bundles.toSorted((a, b) => (a.acknowledged ?? 0) - (b.acknowledged ?? 0));
  const slot = oldest && { node: '', name: '', certificates: [], bundle: oldest };
  return {
    open: [],
    left: slot === undefined ? [] : [{ slot, until: keepUntil }],
    lasting: lastOfEachAuthority(certificates),
    own: [],
    unconfirmed: held.unconfirmed,
  };
}
