import test, { type ExecutionContext } from 'ava';
import { openCheckpoint } from '../../src/audit/log/checkpoint.ts';
import { decodeEntry, ENTRY_COLUMNS } from '../../src/audit/log/entry.ts';
import { leafHash } from '../../src/audit/log/merkle.ts';
import {
  checkConsistency,
  checkInclusion,
  proveConsistency,
  proveInclusion,
} from '../../src/audit/log/proof.ts';
import { verifierOf } from '../../src/audit/log-key.ts';
import type { LogStore, LogTransaction } from '../../src/audit/log-store.ts';
import { sequence } from '../../src/audit/sequence.ts';
import type { Database } from '../../src/db/database.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { passRecordedTransactions } from '../../src/db/transaction-counter.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { storedBy } from '../audit/log/definition.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { issuance, openDatabase } from './fixtures.ts';
import { event, recordRevocation, sequenceAll, sequenceOptions } from './log-fixtures.ts';

async function openLog(t: ExecutionContext) {
  const created = await createDatabase();
  const database = openDatabase(created.url, { maxConnections: 2 });
  t.teardown(async () => {
    await database.close();
    await created.drop();
  });
  return { database, url: created.url, log: new PostgresLog(database) };
}

test('every row that is recorded becomes one entry, of which each checkpoint, tile and proof holds', async (t) => {
  const { database, log } = await openLog(t);
  const given = Array.from({ length: 600 }, () => issuance());
  await insertIssuances(database, given.slice(0, 100));
  await insertEvents(database, [event(), event({ before: null, after: null })]);
  const first = await sequenceAll(database, 102);
  await insertIssuances(database, given.slice(100));
  await recordRevocation(database);
  const second = await sequenceAll(database, 603, 50);

  const key = await log.key();
  const head = await log.head();
  if (key === null || head === null || first.head === null) return t.fail();
  const checkpoint = openCheckpoint(head.note, verifierOf(key));
  t.deepEqual([checkpoint.origin, checkpoint.size, second.head?.size], ['carnet.local/log', 603, 603]);
  const leaves = (await log.entries(0, 1000)).map(leafHash);
  t.is(leaves.length, 603);
  t.deepEqual(Buffer.from(storedBy(leaves).tree.root), checkpoint.root);
  t.true(checkConsistency(first.head, checkpoint, await proveConsistency(102, 603, log.readNodes)));
  for (const { serial } of [given[0], given[99], given[100], given[599]].flatMap((one) => one ?? [])) {
    const index = await log.findIssuance(serial);
    if (index === null) return t.fail();
    const proof = await proveInclusion(index, 603, log.readNodes);
    t.true(checkInclusion(index, leaves[index] ?? new Uint8Array(), checkpoint, proof));
  }
  t.is(await log.findIssuance('0'.repeat(32)), null);
  t.is(await log.waitingSince(), null);
});

test('an entry has every column of its row as PostgreSQL sends it, JSON to the letter', async (t) => {
  const { database, log } = await openLog(t);
  const given = issuance({ entryVersion: null, node: null, dnsNames: ['a', 'ü'] });
  await insertIssuances(database, [given]);
  await database.query(
    `INSERT INTO operator_event (actor, action, subject, before, after, reason)
     VALUES ('a', 'b', 'c', NULL, '{"z": 1,  "a":[ ]}', '')`,
  );
  await recordRevocation(database);
  await sequenceAll(database, 3);
  const entries = (await log.entries(0, 3)).map(decodeEntry);
  t.deepEqual(
    entries.map(({ kind, columns }) => [kind, [...(columns?.keys() ?? [])]]),
    [
      ['issuance', [...ENTRY_COLUMNS.issuance]],
      ['operator_event', [...ENTRY_COLUMNS.operator_event]],
      ['revocation', [...ENTRY_COLUMNS.revocation]],
    ],
  );
  const [recorded, changed, revoked] = entries.map(({ columns }) => columns);
  const text = (bytes: Uint8Array | null | undefined): string | null =>
    bytes ? Buffer.from(bytes).toString() : null;
  t.is(Buffer.from(recorded?.get('serial') ?? []).toString('hex'), given.serial);
  t.deepEqual(recorded?.get('certificate'), Buffer.from(given.certificate));
  t.is(text(recorded?.get('evidence')), JSON.stringify(given.evidence));
  t.deepEqual([recorded?.get('node'), recorded?.get('entry_version')], [null, null]);
  t.is(text(changed?.get('after')), '{"z": 1,  "a":[ ]}');
  t.is(changed?.get('before'), null);
  t.is(text(revoked?.get('reason_code')), 'keyCompromise');
});

test('no column of a table is left out of its entries', async (t) => {
  const { database } = await openLog(t);
  for (const [table, columns] of Object.entries(ENTRY_COLUMNS)) {
    const rows = await database.query<{ name: string }>(
      'SELECT attname AS name FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped',
      [table],
    );
    t.deepEqual(rows.map(({ name }) => name).sort(), [...columns].sort());
  }
});

test('a record too long for a bundle is in the log by its digest', async (t) => {
  const { database, log } = await openLog(t);
  await insertEvents(database, [event({ after: { long: 'x'.repeat(70_000) } })]);
  await sequenceAll(database, 1);
  const [entry] = await log.entries(0, 1);
  t.is(entry?.length, 34);
  t.deepEqual(decodeEntry(entry ?? new Uint8Array()), { kind: 'operator_event', columns: null });
});

test('a transaction that began earlier and commits later is neither lost nor out of order', async (t) => {
  const { database, url, log } = await openLog(t);
  const late = openDatabase(url);
  t.teardown(() => late.close());
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const slow = late.transact(async (tx) => {
    await insertEvents(tx, [event({ subject: 'early' })]);
    begun.resolve();
    await held.promise;
    await insertEvents(tx, [event({ subject: 'early too' })]);
  });
  await begun.promise;
  await database
    .transact(async (tx) => {
      await insertEvents(tx, [event({ subject: 'never' })]);
      throw new Error('rolled back, with the IDs that it took');
    })
    .catch(() => undefined);
  await insertEvents(database, [event({ subject: 'late' })]);
  const turn = await sequence(sequenceOptions(log), null, 10);
  t.deepEqual([turn?.added, turn?.head], [0, null]);
  t.truthy(await log.waitingSince());
  held.resolve();
  await slow;
  await sequenceAll(database, 3, 2);
  const subjects = (await log.entries(0, 3)).map((entry) =>
    Buffer.from(decodeEntry(entry).columns?.get('subject') ?? []).toString(),
  );
  t.deepEqual(subjects, ['early', 'early too', 'late']);
});

test('of many who sequence at once one has the turn, and no entry comes twice', async (t) => {
  const { database, url, log } = await openLog(t);
  const others = [openDatabase(url), openDatabase(url)];
  t.teardown(() => Promise.all(others.map((one) => one.close())).then(() => undefined));
  const options = [database, ...others].map((one) => sequenceOptions(new PostgresLog(one)));
  let size = 0;
  for (let round = 0; round < 15; round++) {
    await Promise.all([
      insertIssuances(
        database,
        Array.from({ length: 20 }, () => issuance()),
      ),
      insertEvents(database, [event(), event()]),
      ...options.map((one) => sequence(one, null, 7)),
    ]);
    size += 22;
  }
  await sequenceAll(database, size);
  const [found] = await database.query<{ indexes: string; rows: string; last: string }>(
    `SELECT count(*) AS indexes, count(DISTINCT (kind, row_id)) AS rows, max(leaf_index) AS last FROM log_entry`,
  );
  t.deepEqual(found, { indexes: String(size), rows: String(size), last: String(size - 1) });
  await assertAllConsistent(t, database, log);
});

/** Each step of a turn, to be cut short before and after. */
const STEPS = ['key', 'insertKey', 'head', 'append', 'readNodes', 'insertNodes', 'insertCheckpoint'] as const;

for (const step of STEPS)
  for (const when of ['before', 'after'] as const)
    test(`a turn that ends ${when} ${step} leaves the log as it was, and the next one makes it whole`, async (t) => {
      const { database, log } = await openLog(t);
      const isFirst = step === 'insertKey';
      if (!isFirst) {
        await insertEvents(database, [event()]);
        await sequenceAll(database, 1);
      }
      const before = await log.head();
      await insertIssuances(
        database,
        Array.from({ length: 300 }, () => issuance()),
      );
      const size = isFirst ? 300 : 301;
      const cut = await until('there is something to sequence', async () => {
        // A transaction of another test's database can make this a turn without anything to do.
        const error = await sequence(sequenceOptions(cutAt(log, step, when)), null, 1000).catch(
          (one: unknown) => one,
        );
        return error instanceof Error && error;
      });
      t.is(cut.message, 'cut');
      t.deepEqual(await log.head(), before);
      t.is((await log.entries(0, 1000)).length, before?.size ?? 0);
      await sequenceAll(database, size);
      await assertAllConsistent(t, database, log);
    });

for (const [what, statement] of [
  ['whose root was changed', `UPDATE log_checkpoint SET root = sha256(root)`],
  ['whose size was changed', `UPDATE log_checkpoint SET size = size - 1`],
  ['whose note was changed', `UPDATE log_checkpoint SET note = replace(note, E'\\n3\\n', E'\\n4\\n')`],
  ['whose leaves were changed', `UPDATE log_entry SET leaf_hash = sha256(leaf_hash) WHERE leaf_index = 1`],
  ['whose leaves were taken away', `DELETE FROM log_entry WHERE leaf_index = 1`],
] as const)
  test(`nothing is added to a log ${what}`, async (t) => {
    const { database, log } = await openLog(t);
    await insertEvents(database, [event(), event(), event()]);
    await sequenceAll(database, 3);
    await tamper(database, statement);
    await insertEvents(database, [event()]);
    const error = await until('there is something to sequence', async () => {
      const turn = await sequence(sequenceOptions(log), null, 10).catch((one: unknown) => one);
      return turn instanceof Error && turn;
    });
    t.true(['internal', 'invalid_argument'].includes(errorCodeOf(error)), error.message);
    t.is((await database.query('SELECT FROM log_entry WHERE leaf_index > 2')).length, 0);
  });

test('nothing is added to a log that is shorter than it was, or of another cluster', async (t) => {
  const { database, log } = await openLog(t);
  await insertEvents(database, [event()]);
  const { head } = await sequenceAll(database, 1);
  if (head === null) return t.fail();
  const later = sequence(sequenceOptions(log), { ...head, size: 2 }, 10);
  t.is(errorCodeOf(await t.throwsAsync(later)), 'internal');
  const forked = sequence(sequenceOptions(log), { ...head, root: new Uint8Array(32) }, 10);
  t.is(errorCodeOf(await t.throwsAsync(forked)), 'internal');
  await tamper(database, "UPDATE log_entry SET xact = '9999999999'");
  t.is(errorCodeOf(await t.throwsAsync(sequence(sequenceOptions(log), head, 10))), 'conflict');
});

test('records that pg_restore brought into a younger cluster are passed, and what follows comes into the log', async (t) => {
  const { database, log } = await openLog(t);
  await insertEvents(database, [event({ subject: 'sequenced' }), event({ subject: 'waiting' })]);
  t.is(await passRecordedTransactions(database), 0n);
  // As if both were recorded in the 120,000 transactions to come.
  await tamper(database, 'UPDATE operator_event SET xact = (xact::text::bigint + 120000)::text::xid8');
  t.true((await passRecordedTransactions(database)) > 50_000n);
  t.is(await passRecordedTransactions(database), 0n);
  await insertEvents(database, [event({ subject: 'afterwards' })]);
  await sequenceAll(database, 3);
  const [, , last] = (await log.entries(0, 3)).map(decodeEntry);
  t.is(Buffer.from(last?.columns?.get('subject') ?? []).toString(), 'afterwards');
  await tamper(database, "UPDATE log_entry SET xact = '999999999999'");
  t.is(errorCodeOf(await t.throwsAsync(passRecordedTransactions(database))), 'conflict');
});

for (const table of ['log_entry', 'log_node', 'log_checkpoint', 'log_cosignature'])
  for (const statement of [`DELETE FROM ${table}`, `TRUNCATE ${table}`])
    test(`refuses ${statement}, to a superuser too`, async (t) => {
      const { database } = await openLog(t);
      await t.throwsAsync(database.query(statement), { message: /is append-only: / });
    });

/** As one who owns the tables can. */
async function tamper(database: Database, statement: string): Promise<void> {
  const tables = ['log_entry', 'log_node', 'log_checkpoint', 'operator_event'];
  for (const table of tables) await database.query(`ALTER TABLE ${table} DISABLE TRIGGER append_only`);
  await database.query(statement);
  for (const table of tables) await database.query(`ALTER TABLE ${table} ENABLE ALWAYS TRIGGER append_only`);
}

function cutAt(log: LogStore, step: (typeof STEPS)[number], when: 'before' | 'after'): LogStore {
  const cut = (tx: LogTransaction): LogTransaction => ({
    ...tx,
    [step]: async (...args: never[]) => {
      if (when === 'after') await (tx[step] as (...args: never[]) => Promise<unknown>)(...args);
      throw new Error('cut');
    },
  });
  return { sequence: (work) => log.sequence((tx) => work(cut(tx))) };
}

/** Every checkpoint is of the tree that the rows make, and so each is how the next one begins. */
async function assertAllConsistent(t: ExecutionContext, database: Database, log: PostgresLog): Promise<void> {
  const key = await log.key();
  if (key === null) return t.fail();
  const leaves = (await log.entries(0, 10_000)).map(leafHash);
  const notes = await database.query<{ note: string }>('SELECT note FROM log_checkpoint ORDER BY size');
  for (const { note } of notes) {
    const { size, root } = openCheckpoint(note, verifierOf(key));
    t.deepEqual(Buffer.from(storedBy(leaves.slice(0, size)).tree.root), root);
  }
}
