import { randomBytes } from 'node:crypto';
import test from 'ava';
import { BatchRecorder, RECORDER_LIMITS } from '../../src/audit/record.ts';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import type { Database } from '../../src/db/database.ts';
import { PostgresEntryStore } from '../../src/db/entries.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { migrate } from '../../src/db/migrate.ts';
import { insertEvents, listEvents } from '../../src/db/operator-events.ts';
import { ensurePartitions } from '../../src/db/partitions.ts';
import { PostgresTokenStore } from '../../src/db/tokens.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import { administer, createDatabase, urlOf } from '../support/database.ts';
import { issuance, log, openDatabase } from './fixtures.ts';

const ENTRY = {
  id: 'web',
  spiffeId: 'spiffe://carnet.local/web',
  selectors: [parseSelector('unix:uid:1')],
  dnsNames: [],
  ttlSeconds: null,
  hint: null,
  federatesWith: [],
};

/** Two roles, as where the operator gives two URLs: one owns the tables, one serves. Here a superuser owns. */
const created = await createDatabase('empty');
const runtimeRole = `runtime_"${randomBytes(6).toString('hex')}"`;
await administer(`CREATE ROLE "${runtimeRole.replaceAll('"', '""')}" LOGIN`);
const runtimeUrl = urlOf(new URL(created.url).pathname.slice(1), runtimeRole);
await migrate({ url: runtimeUrl, ownerUrl: created.url, log });
const owner = openDatabase(created.url);
const runtime = openDatabase(runtimeUrl);

const partitions = await owner.query<{ name: string }>(
  `SELECT inhrelid::regclass::text AS name FROM pg_inherits
   WHERE inhparent IN ('issuance'::regclass, 'operator_event'::regclass) ORDER BY 1`,
);
const HISTORY = [
  'issuance',
  'operator_event',
  'entry_version',
  'trust_bundle',
  ...partitions.map(({ name }) => name),
];

test.before(async () => {
  await fill(owner);
});
test.after.always(async () => {
  await owner.close();
  await runtime.close();
  await created.drop();
  await administer(`DROP ROLE "${runtimeRole.replaceAll('"', '""')}"`);
});

/** A row of each kind of history, through the stores. */
async function fill(database: Database): Promise<void> {
  const id = randomBytes(4).toString('hex');
  const recorder = new BatchRecorder(
    (batch) => insertIssuances(database, batch),
    RECORDER_LIMITS,
    () => 0,
  );
  await recorder.record(issuance());
  const entries = new PostgresEntryStore(database);
  await entries.apply([{ ...ENTRY, id }], 'operator:test');
  await entries.apply([{ ...ENTRY, id, ttlSeconds: 5 }], 'operator:test');
  await entries.delete(id, 'operator:test');
  await new PostgresAuthorityStore(database).transact(async (tx) => {
    const [notBefore, notAfter] = [new Date(0), new Date(1)];
    const certificate = Buffer.of(1);
    const rest = {
      notBefore,
      notAfter,
      certificate,
      keyAlgorithm: 'ec-p256',
      sealedKey: null,
      keyReference: null,
      crossCertificate: null,
      intermediates: [],
    } as const;
    await tx.insert({ id: `root-${id}`, parentId: `root-${id}`, kind: 'root', state: 'prepared', ...rest });
    await tx.setState(`root-${id}`, 'active');
    await tx.publishBundle([`root-${id}`], []);
  });
}

for (const table of HISTORY)
  for (const [verb, statement] of [
    ['UPDATE', `UPDATE ${table} SET recorded_at = now()`],
    ['UPDATE of no row', `UPDATE ${table} SET recorded_at = now() WHERE false`],
    ['DELETE', `DELETE FROM ${table}`],
    ['DELETE of no row', `DELETE FROM ${table} WHERE false`],
    // CASCADE, because another table's reference would refuse it before the trigger is asked.
    ['TRUNCATE', `TRUNCATE ${table} CASCADE`],
    ['MERGE', `MERGE INTO ${table} USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE`],
  ] as const) {
    test(`${table} refuses ${verb}, to a superuser too`, async (t) => {
      await t.throwsAsync(owner.query(statement), { code: '42501', message: /is append-only: / });
    });
    test(`${table} refuses ${verb} to the role of a running server`, async (t) => {
      await t.throwsAsync(runtime.query(statement), { code: '42501', message: /permission denied/ });
    });
  }

test('session_replication_role does not silence the refusal', async (t) => {
  for (const table of HISTORY)
    await t.throwsAsync(
      owner.transact(async (tx) => {
        await tx.query('SET LOCAL session_replication_role = replica');
        await tx.query(`DELETE FROM ${table}`);
      }),
      { code: '42501', message: /is append-only: / },
    );
});

for (const statement of [
  `INSERT INTO trust_bundle (sequence, root_ids, x509_authorities) SELECT sequence, '{}', '{}' FROM trust_bundle
   ON CONFLICT (sequence) DO UPDATE SET root_ids = excluded.root_ids`,
  'UPDATE issuance SET id = DEFAULT',
  'WITH gone AS (DELETE FROM operator_event RETURNING 1) SELECT 1',
])
  test(`refuses the detour ${statement.slice(0, 40)}`, async (t) => {
    await t.throwsAsync(owner.query(statement), { code: '42501', message: /is append-only: / });
  });

for (const statement of [
  "INSERT INTO operator_event (actor, action, subject, reason, recorded_at) VALUES ('a', 'b', 'c', '', now())",
  "INSERT INTO operator_event (actor, action, subject, reason, xact) VALUES ('a', 'b', 'c', '', '1')",
  "INSERT INTO operator_event (id, actor, action, subject, reason) OVERRIDING SYSTEM VALUE VALUES (1, 'a', 'b', 'c', '')",
  'ALTER TABLE issuance DISABLE TRIGGER append_only',
  'DROP TABLE issuance_default',
  'ALTER TABLE issuance DETACH PARTITION issuance_default',
  'CREATE TABLE mine (a integer)',
  'SET session_replication_role = replica',
  'DELETE FROM authority',
  'DELETE FROM token',
  "SELECT carnet_retire_partition(1, 'drop', 'operator:eve', '')",
  'DELETE FROM legal_hold',
  'DELETE FROM legal_hold_release',
])
  test(`the role of a running server may not: ${statement.slice(0, 90)}`, async (t) => {
    await t.throwsAsync(runtime.query(statement), { code: '42501' });
  });

test('the role of a running server can do all that a server does', async (t) => {
  await fill(runtime);
  const tokens = new PostgresTokenStore(runtime);
  const { id } = await tokens.create(
    { name: 'x', role: 'admin', scopes: null, expiresAt: null, sha256: randomBytes(32) },
    'operator:test',
  );
  await tokens.revoke(id, 'operator:test');
  t.truthy(await tokens.find(randomBytes(32)).then(() => tokens.list()));
  t.true((await new PostgresIssuanceQuery(runtime).search({}, { limit: 10, cursor: null })).items.length > 0);
  t.true((await listEvents(runtime, { limit: 10, cursor: null })).items.length > 0);
  t.deepEqual(await ensurePartitions(runtime), []);
});

test('every row of history knows its transaction, and IDs grow within it', async (t) => {
  const [found] = await owner.transact(async (tx) => {
    const event = { actor: 'a', action: 'b', subject: 'order', before: null, after: null, reason: '' };
    await insertEvents(tx, [event, event, event]);
    return tx.query<{ same: boolean; ids: string[] }>(
      `SELECT bool_and(xact = pg_current_xact_id()) AS same, array_agg(id ORDER BY id) AS ids
       FROM operator_event WHERE subject = 'order'`,
    );
  });
  t.true(found?.same);
  t.is(new Set(found?.ids).size, 3);
});
