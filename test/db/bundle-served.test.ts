import test from 'ava';
import { federatedConsumers, noteBundleServed } from '../../src/db/bundle-served.ts';
import { laggards } from '../../src/rotation/gate.ts';
import { createDatabase } from '../support/database.ts';
import { openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

const HINT_SECONDS = 60;
const ROTATION_HOLD_SECONDS = 1;

test('a new root waits for three refreshes of those who fetch our bundle (SPIFFE Federation §4.1)', async (t) => {
  await publish(1);
  await database.query(
    `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, certificate, not_before, not_after, published_sequence)
     VALUES ('root', 'root', 'active', 'root', 'ec-p256', '\\x00', now(), now(), 1)`,
  );
  t.deepEqual(await federatedConsumers(database), [], 'nobody fetches it');
  await noteBundleServed(database, HINT_SECONDS);
  // Of a revocation: the roots are the same.
  await publish(2);
  const [consumer] = await federatedConsumers(database);
  if (consumer === undefined) return t.fail();
  const [row] = await database.query<{ at: Date }>(
    'SELECT recorded_at AS at FROM trust_bundle WHERE sequence = 1',
  );
  const at = row?.at.getTime() ?? 0;
  t.like(consumer, { acknowledges: false, bundleSent: 2, bundleSentAt: at });
  const held = (now: number, hold = ROTATION_HOLD_SECONDS) => laggards(2, now, hold, [consumer]);
  t.like(held(at), [{ instance: 'federation', until: at + 3 * HINT_SECONDS * 1000 }]);
  t.deepEqual(held(at + 3 * HINT_SECONDS * 1000), []);
  t.deepEqual(held(at, 0), [], 'after a compromise nobody is held for');
  await database.query("UPDATE bundle_served SET served_at = served_at - interval '8 days'");
  t.deepEqual(await federatedConsumers(database), [], 'nobody fetches it any more');
});

async function publish(sequence: number): Promise<void> {
  await database.query(
    "INSERT INTO trust_bundle (sequence, root_ids, x509_authorities) VALUES ($1, '{root}', '{\"\\\\x00\"}')",
    [sequence],
  );
}
