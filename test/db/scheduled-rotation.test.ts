import { randomBytes } from 'node:crypto';
import test from 'ava';
import { parseKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { type ApplyOptions, applyPlan } from '../../src/rotation/apply.ts';
import { startScheduled } from '../../src/rotation/operate.ts';
import { createDatabase } from '../support/database.ts';
import { openDatabase } from './fixtures.ts';

const FIRES = 100;
const DAY_MS = 86_400_000;

const created = await createDatabase();
const replicas = [openDatabase(created.url), openDatabase(created.url)];
const [database] = replicas as [(typeof replicas)[number]];
test.after.always(async () => {
  for (const replica of replicas) await replica.close();
  await created.drop();
});

const keys = sealedKeyStore(parseKeyEncryptionKey(randomBytes(32).toString('hex')));
const [one, other] = replicas.map((replica) => optionsOf(new PostgresAuthorityStore(replica))) as [
  ApplyOptions,
  ApplyOptions,
];

function optionsOf(store: PostgresAuthorityStore): ApplyOptions {
  return {
    store,
    keys,
    trustDomain: parseTrustDomain('carnet.local'),
    schedule: {
      rootTtlMs: 365 * DAY_MS,
      issuingTtlMs: 7 * DAY_MS,
      rootShare: null,
      issuingShare: null,
      holdSeconds: 0,
      jwtKeyTtlMs: 7 * DAY_MS,
      jwtShare: null,
      jwtHoldSeconds: 0,
    },
    rootKeyType: 'ec-p256',
    issuingKeyType: 'ec-p256',
    jwtKeyType: 'ec-p256',
    backdateSeconds: 30,
    clock: Date.now,
  };
}

const count = async (statement: string): Promise<number> => {
  const [row] = await database.query<{ count: string }>(`SELECT count(*) AS count FROM ${statement}`);
  return Number(row?.count);
};

test.serial(
  `two replicas whose schedules fire ${FIRES} times rotate ${FIRES} times, each once`,
  async (t) => {
    await applyPlan(one, 'server:start');
    for (let fire = 1; fire <= FIRES; fire++) {
      // Between two fires of a schedule there is more than the second for which clocks may differ.
      const firedAt = new Date(Date.now() + 2_000 * fire);
      const started = await Promise.all([
        startScheduled(one, 'issuing', firedAt),
        startScheduled(other, 'issuing', firedAt),
      ]);
      t.is(started.filter((begun) => begun).length, 1, `fire ${fire}`);
      await Promise.all([applyPlan(one, 'schedule:authorities'), applyPlan(other, 'schedule:authorities')]);
      // As if it had been then.
      await database.query('UPDATE rotation SET started_at = $1 WHERE id = (SELECT max(id) FROM rotation)', [
        firedAt,
      ]);
      t.false(await startScheduled(fire % 2 === 0 ? one : other, 'issuing', firedAt), `late at fire ${fire}`);
    }
    t.is(await count('rotation'), FIRES);
    t.is(await count("rotation WHERE outcome = 'done'"), FIRES);
    t.is(await count("operator_event WHERE action = 'rotation.start'"), FIRES);
    t.is(await count("authority WHERE kind = 'issuing'"), FIRES + 1);
    t.is(await count("authority WHERE kind = 'issuing' AND state = 'active'"), 1);
  },
);
