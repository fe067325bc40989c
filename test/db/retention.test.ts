import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { verifierOf } from '../../src/audit/log-key.ts';
import { type Partition, type RetentionStore, retirePartition } from '../../src/audit/retire.ts';
import { LeafDigest, spanOf } from '../../src/audit/retired.ts';
import { verifyLog } from '../../src/audit/verify-log.ts';
import type { Database } from '../../src/db/database.ts';
import { PostgresLegalHolds } from '../../src/db/legal-holds.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { PostgresLogSource } from '../../src/db/log-source.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { PostgresRetiredList, readLeaves } from '../../src/db/retention.ts';
import { BY, MONTH, OLD_ROWS, startArchive, untilSequenced } from './archive.ts';

async function verify(database: Database) {
  const key = await new PostgresLog(database).key();
  if (key === null) throw new Error('the log has not begun');
  const source = new PostgresLogSource(database);
  return verifyLog({ source, key: verifierOf(key), kept: [], since: null, onProgress: () => undefined });
}

/** As one whom no trigger hinders. */
async function tamper(database: Database, ...statements: string[]): Promise<void> {
  await database.transact(async (tx) => {
    const tables = await tx.query<{ name: string }>(
      `SELECT DISTINCT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgname = 'append_only'`,
    );
    for (const { name } of tables) await tx.query(`ALTER TABLE ${name} DISABLE TRIGGER append_only`);
    for (const statement of statements) await tx.query(statement);
    for (const { name } of tables) await tx.query(`ALTER TABLE ${name} ENABLE ALWAYS TRIGGER append_only`);
  });
}

async function tableExists(database: Database, name: string): Promise<boolean> {
  const [row] = await database.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [
    name,
  ]);
  return row?.there === true;
}

for (const how of ['drop', 'detach'] as const)
  test(`a month that is gone by ${how} is in a file, on record, and the log holds as before`, async (t) => {
    const { database, directory, log, retire, store } = await startArchive(t);
    const before = await log.head();
    const exported = await retire(how);
    t.like(exported, { rows: OLD_ROWS, kind: 'issuance', file: `${MONTH}.ndjson` });
    t.is(readFileSync(join(directory, exported.file), 'utf8').split('\n').length, OLD_ROWS + 1);
    t.is(await tableExists(database, MONTH), how === 'detach');
    const [counted] = await database.query<{ count: string }>('SELECT count(*) FROM issuance');
    t.is(counted?.count, '20');
    t.deepEqual(
      (await new PostgresRetiredList(database).retired()).map(({ partition, how: done }) => [
        partition,
        done,
      ]),
      [[MONTH, how]],
    );
    await untilSequenced(log);
    const verified = await verify(database);
    t.is(verified.fault, null);
    t.deepEqual(
      verified.retired.map(({ partition, rows }) => [partition, rows]),
      [[MONTH, OLD_ROWS]],
    );
    t.true((verified.head?.size ?? 0) === (before?.size ?? 0) + 2);
    t.false((await store.partitions()).some(({ name }) => name === MONTH));
    await t.throwsAsync(log.entries(0, 5), { code: 'not_found', message: new RegExp(exported.sha256) });
  });

/** Where it can end: before and after everything that it does. */
const STEPS = ['exportRows', 'countRows', 'findExport', 'recordExport', 'isCovered', 'retire'] as const;
for (const step of STEPS)
  for (const when of ['before', 'after'] as const)
    test(`killed ${when} ${step}, no row is gone without a file on record, and it is gone on with`, async (t) => {
      const archive = await startArchive(t);
      const { database, log, month, store, exportRows, directory } = archive;
      const ending = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
        if (name === step && when === 'before') throw new Error('killed');
        const result = await work();
        if (name === step) throw new Error('killed');
        return result;
      };
      const killed = new Proxy(store, {
        get: (target, name) => {
          const method = target[name as keyof RetentionStore] as (...args: unknown[]) => Promise<unknown>;
          return (...args: unknown[]) => ending(String(name), () => method.apply(target, args));
        },
      });
      const options = { how: 'drop', ...BY } as const;
      const cut = {
        ...options,
        store: killed,
        exportRows: (one: Partition) => ending('exportRows', () => exportRows(one)),
      };
      await t.throwsAsync(retirePartition(cut, month), { message: 'killed' });
      await untilSequenced(log);
      t.is((await verify(database)).fault, null);
      const gone = !(await tableExists(database, MONTH));
      t.is(gone, step === 'retire' && when === 'after');
      if (!gone) await retirePartition({ ...options, store, exportRows }, month);
      await untilSequenced(log);
      t.is((await verify(database)).fault, null);
      t.true(existsSync(join(directory, `${MONTH}.ndjson`)));
      const events = await database.query<{ action: string }>(
        `SELECT action FROM operator_event WHERE starts_with(action, 'retention.') ORDER BY id`,
      );
      t.deepEqual(
        events.map(({ action }) => action),
        ['retention.export', 'retention.drop'],
      );
    });

test('an export that was begun is gone on with, and one that somebody changed is refused', async (t) => {
  const { directory, retire, database, exportRows, month } = await startArchive(t);
  const { sha256 } = await exportRows(month);
  const file = join(directory, `${MONTH}.ndjson`);
  const text = readFileSync(file, 'utf8');
  for (const [changed, message] of [
    [text.replace('/ns/1/web', '/ns/2/web'), /says something else than its record/],
    [text.slice(text.indexOf('\n') + 1), /bytes: /],
  ] as const) {
    writeFileSync(file, changed);
    await t.throwsAsync(retire(), { code: 'conflict', message });
  }
  t.true(await tableExists(database, MONTH));
  rmSync(file);
  const manifest = JSON.parse(readFileSync(`${file}.manifest.json`, 'utf8'));
  const { request, checkpoint, verifier_key } = manifest;
  writeFileSync(`${file}.partial`, text.slice(0, 20_000));
  appendFileSync(
    `${file}.partial.json`,
    JSON.stringify({ asked: request, request, checkpoint, verifier_key }),
  );
  t.is((await retire()).sha256, sha256);
});

for (const [what, hold, keeps] of [
  ['an identity in it', { identity: 'spiffe://carnet.local/ns/1/web' }, true],
  ['an identity that is not in it', { identity: 'spiffe://carnet.local/ns/1' }, false],
  ['a prefix', { identity: 'spiffe://carnet.local/ns/1', isPrefix: true }, true],
  ['a span that it is in', { from: new Date('2023-01-01'), to: new Date('2024-01-03') }, true],
  ['a span before it', { from: new Date('2023-01-01'), to: new Date('2024-01-01') }, false],
  [
    'an identity in another span',
    { identity: 'spiffe://carnet.local/ns/1/web', to: new Date('2024-01-02') },
    false,
  ],
] as const)
  test(`a legal hold on ${what} ${keeps ? 'keeps' : 'does not keep'} a month, and keeps it no more when it is released`, async (t) => {
    const { database, retire, store } = await startArchive(t);
    const holds = new PostgresLegalHolds(database);
    const { id } = await holds.create(
      { identity: null, isPrefix: false, from: null, to: null, reason: 'case 12', ...hold },
      'operator:eve',
    );
    t.is(await store.obstacle(MONTH), keeps ? `legal hold ${id} keeps it (case 12)` : null);
    if (keeps) {
      await t.throwsAsync(retire(), {
        code: 'conflict',
        message: /stays: legal hold \d+ keeps it \(case 12\)/,
      });
      await holds.release(id, 'closed', 'operator:eve');
      await t.throwsAsync(holds.release(id, 'again', 'operator:eve'), { code: 'conflict' });
      t.like((await holds.list())[0], { id, released: { reason: 'closed' } });
    }
    await retire();
    t.false(await tableExists(database, MONTH));
  });

test('a hold whose release is on no record keeps on', async (t) => {
  const { database, store } = await startArchive(t);
  const holds = new PostgresLegalHolds(database);
  const { id } = await holds.create(
    { identity: null, isPrefix: false, from: null, to: null, reason: 'case 12' },
    'operator:eve',
  );
  await database.query("INSERT INTO legal_hold_release (hold_id, reason, actor) VALUES ($1, '', '')", [id]);
  t.regex((await store.obstacle(MONTH)) ?? '', /^legal hold/);
});

test('holds keep all operator events of their span, and their own events stay in any case', async (t) => {
  const { database, store } = await startArchive(t);
  const holds = new PostgresLegalHolds(database);
  t.is(await store.obstacle('operator_event_2024_01'), null);
  const { id } = await holds.create(
    { identity: 'spiffe://carnet.local/none', isPrefix: false, from: null, to: null, reason: 'case 12' },
    'operator:eve',
  );
  t.regex((await store.obstacle('operator_event_2024_01')) ?? '', /^legal hold/);
  await holds.release(id, 'closed', 'operator:eve');
  t.is(await store.obstacle('operator_event_2024_01'), null);
  await database.query(
    `INSERT INTO operator_event (recorded_at, actor, action, subject, reason)
     VALUES ('2024-01-06 00:00Z', 'operator:old', 'retention.export', 'issuance_2023_01', '')`,
  );
  t.regex((await store.obstacle('operator_event_2024_01')) ?? '', /tell of exports/);
});

test('a month with a valid certificate stays, and so do this month and the last', async (t) => {
  const { database, store, partitions } = await startArchive(t);
  for (const { name } of partitions.filter(({ name }) => !name.endsWith('2024_01')))
    t.regex((await store.obstacle(name)) ?? '', /ended less than 30 days ago/, name);
  await database.query(
    `INSERT INTO issuance (recorded_at, not_before, not_after, serial, profile, identity, dns_names, authority_id,
       public_key_sha256, certificate_sha256, certificate, requester)
     VALUES ('2024-01-31 00:00Z', now(), now() + interval '1 day', uuid_send(gen_random_uuid()), 'root-ca',
       'spiffe://carnet.local', '{}', 'issuing-0a1b2c3d', '', '', '', 'server')`,
  );
  t.regex((await store.obstacle(MONTH)) ?? '', /^certificates in it, 1 of them, are valid until/);
  t.is(await store.obstacle('issuance_1999_01'), 'there is no such partition');
});

test('the database itself refuses what is not exported, not logged, or not all of it', async (t) => {
  const { database, store, month, exportRows, log } = await startArchive(t);
  const exported = await exportRows(month);
  const refused = (event: bigint, message: RegExp) =>
    t.throwsAsync(store.retire(event, 'drop', BY), { code: 'conflict', message });
  await refused(999_999n, /is of no export of a partition/);
  const fewer = await store.recordExport(MONTH, { ...exported, rows: OLD_ROWS - 1 }, BY);
  const good = await store.recordExport(MONTH, exported, BY);
  await untilSequenced(log);
  await refused(fewer, /has 300 rows, of which 300 are in the log, and 299 were exported/);
  await tamper(
    database,
    `UPDATE operator_event SET after = (replace(after::text, '${exported.sha256}', '${'0'.repeat(64)}'))::json WHERE id = ${good}`,
  );
  await refused(good, /the export of issuance_2024_01 is not in the log yet/);
  await tamper(
    database,
    `UPDATE operator_event SET after = (replace(after::text, '${'0'.repeat(64)}', '${exported.sha256}'))::json WHERE id = ${good}`,
    `DELETE FROM issuance WHERE id = 1`,
  );
  await refused(good, /has 299 rows/);
  t.true(await tableExists(database, MONTH));
});

/** After a month was dropped, what else goes is still named. */
for (const [what, statements, expected] of [
  [
    'a row of another month deleted',
    [`DELETE FROM issuance WHERE id = ${OLD_ROWS + 5}`],
    /^entry \d+: issuance 305 .*is gone/,
  ],
  [
    'a row of another month deleted, and its entry dated into the dropped one',
    [
      `DELETE FROM issuance WHERE id = ${OLD_ROWS + 5}`,
      `UPDATE log_entry SET row_recorded_at = '2024-01-15' WHERE kind = 1 AND row_id = ${OLD_ROWS + 5}`,
    ],
    /^entry \d+: issuance 305 .*is gone/,
  ],
  [
    'a row of the dropped month put in',
    [
      `INSERT INTO issuance (id, xact, recorded_at, not_before, not_after, serial, profile, identity, dns_names, authority_id,
         public_key_sha256, certificate_sha256, certificate, requester) OVERRIDING SYSTEM VALUE
       SELECT 1, xact, '2024-01-02 01:00Z', now(), now(), uuid_send(gen_random_uuid()), 'x', 'x', '{}', 'issuing-0a1b2c3d', '', '', '', 'x'
       FROM log_entry WHERE kind = 1 AND row_id = 1`,
    ],
    /^entry 0: issuance 1 /,
  ],
  [
    'a leaf hash of the dropped month changed',
    [`UPDATE log_entry SET leaf_hash = sha256(leaf_hash) WHERE kind = 1 AND row_id = 7`],
    /^entry 0: issuance 1 .*is gone/,
  ],
  [
    'the event of the export changed',
    [`UPDATE operator_event SET reason = 'none' WHERE action = 'retention.export'`],
    /^entry 0: issuance 1 .*is gone/,
  ],
  [
    'the event of the export deleted',
    [`DELETE FROM operator_event WHERE action = 'retention.export'`],
    /^entry 0: issuance 1 .*is gone/,
  ],
] as const)
  test(`after a month was dropped, ${what} is named`, async (t) => {
    const { database, retire, log } = await startArchive(t);
    await retire();
    await untilSequenced(log);
    t.is((await verify(database)).fault, null);
    await tamper(database, ...statements);
    t.regex((await verify(database)).fault ?? 'all holds', expected);
  });

test('a month that is taken out while the log is verified raises no alarm', async (t) => {
  const { database, retire, log } = await startArchive(t);
  const key = await log.key();
  if (key === null) throw new Error('the log has not begun');
  const source = new PostgresLogSource(database);
  const exportEvents = async () => {
    const before = await source.exportEvents();
    if (before.length === 0) {
      await retire();
      await untilSequenced(log);
    }
    return before;
  };
  const late = new Proxy(source, {
    get: (target, name) => {
      const value = name === 'exportEvents' ? exportEvents : Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const options = { source: late, key: verifierOf(key), kept: [], since: null, onProgress: () => undefined };
  await t.throwsAsync(verifyLog(options), { code: 'unavailable', message: /verify again/ });
  t.is((await verifyLog(options)).fault, null);
});

test('a month whose rows went without an export on record is named', async (t) => {
  const { database } = await startArchive(t);
  await database.query(`ALTER TABLE issuance DETACH PARTITION ${MONTH}`);
  t.regex((await verify(database)).fault ?? '', /^entry 0: issuance 1 .*is gone/);
});

/** What may be recorded as an export excuses nothing but a month that was taken out behind it. */
for (const [what, alter, isTakenOut] of [
  [
    'of one row',
    { rows: 1, last_index: 0, from: '2024-01-02T01:00:00.000Z', to: '2024-01-02T01:00:00.001Z' },
    true,
  ],
  ['of a month that nobody took out', {}, false],
] as const)
  test(`a row that is gone is named also beside an export on record ${what}`, async (t) => {
    const { database, log, exportRows, month, store } = await startArchive(t);
    const exported = { ...(await exportRows(month)), ...alter };
    const span = spanOf(exported);
    const leaves = new LeafDigest();
    if (span !== null) await readLeaves(database, span, (leaf) => leaves.add(leaf));
    t.is(leaves.count, exported.rows);
    const event = { ...exported, leaves_sha256: leaves.hex() };
    await store.recordExport(MONTH, event, BY);
    await untilSequenced(log);
    if (isTakenOut)
      await insertEvents(database, [
        { ...BY, action: 'retention.drop', subject: MONTH, before: null, after: event },
      ]);
    await untilSequenced(log);
    await tamper(database, isTakenOut ? 'DELETE FROM issuance WHERE id = 1' : `DELETE FROM ${MONTH}`);
    t.regex((await verify(database)).fault ?? 'all holds', /^entry 0: issuance 1 .*is gone/);
  });

test('an export that is on record with anything else in it is not the export', async (t) => {
  const { database, log, exportRows, month, store, retire } = await startArchive(t);
  await store.recordExport(MONTH, { ...(await exportRows(month)), leaves_sha256: '0'.repeat(64) }, BY);
  await retire();
  await untilSequenced(log);
  t.is((await verify(database)).fault, null);
});

test('retention goes month by month, each with its own export', async (t) => {
  const { store, exportRows, partitions, database, log } = await startArchive(t);
  for (const partition of partitions.filter(({ name }) => name.endsWith('2024_01')))
    await retirePartition({ store, exportRows, how: 'drop', ...BY }, partition);
  await untilSequenced(log);
  const { fault, retired } = await verify(database);
  t.is(fault, null);
  t.deepEqual(retired.map(({ partition }) => partition).sort(), [
    'issuance_2024_01',
    'operator_event_2024_01',
  ]);
});
