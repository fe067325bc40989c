import { z } from 'zod';
import { validate } from '../../api/validate.ts';
import { RECORD_LIMITS } from '../../delivery/fit-record.ts';
import type { FleetChanges } from '../../delivery/fleet.ts';
import type { HeldRecord } from '../../delivery/member.ts';
import { CarnetError } from '../../errors.ts';
import { LINK_LIMITS } from '../link-limits.ts';

/** What a proxy says of itself, or a refusal in its words. */
const MAX_TEXT = 4096;
/** Of names, identities and authorities of one instance; and JSON, some 300 streams' worth. */
const { items: MAX_ITEMS, heldBytes: MAX_HELD_BYTES } = RECORD_LIMITS;
/** The longest that a certificate lives, and a day: nothing holds a rotation up for longer by its own word. */
const MAX_KEEP_MS = 31 * 86_400_000;

const Text = z.string().max(MAX_TEXT);
const Texts = z.array(Text).max(MAX_ITEMS);
/** As `parseWorkload` takes it. */
const Instance = z
  .string()
  .max(LINK_LIMITS.instanceBytes)
  .regex(
    /^(?!(?:agent|server|operator|schedule|kubernetes):)[a-z][a-z0-9-]*:[\x21-\x7e]+$/,
    'is no instance',
  );
const Time = z.number().min(0).max(8.64e15);
const Count = z.int().min(0);

/** Only its agent reads it again; it must be an object, and no larger than this. */
const Held = z.custom<HeldRecord>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Buffer.byteLength(JSON.stringify(value)) <= MAX_HELD_BYTES,
  `must be an object of at most ${MAX_HELD_BYTES} bytes`,
);

const Changes = z.object({
  records: z
    .array(
      z.object({
        instance: Instance,
        names: Texts,
        identities: Texts,
        streams: Count.max(1_000_000),
        gone: z.boolean(),
        acknowledges: z.boolean(),
        bundleSent: Count.nullable(),
        bundleSentAt: Time.nullable(),
        bundleAcknowledged: Count.nullable(),
        bundleObserved: Count.nullable(),
        observesUntil: Time.nullable(),
        authorities: Texts,
        holdsUntil: Time.nullable(),
        problem: Text.nullable(),
        keepUntil: Time,
        held: Held,
      }),
    )
    .max(LINK_LIMITS.records),
  ended: z.array(Instance).max(LINK_LIMITS.records),
});

/** What an agent reports of its instances, as JSON. `now` in milliseconds. Throws `invalid_argument`. */
export function parseFleetChanges(text: string, now: number): FleetChanges {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new CarnetError('invalid_argument', 'the report is not JSON', { cause });
  }
  const changes = validate(Changes, json, 'the report');
  for (const { instance, keepUntil, holdsUntil } of changes.records)
    if (Math.max(keepUntil, holdsUntil ?? 0) > now + MAX_KEEP_MS)
      throw new CarnetError(
        'invalid_argument',
        `${instance} is to be kept for longer than any certificate lasts`,
      );
  return changes;
}
