import test from 'ava';
import { insertIssuances } from '../../src/db/issuances.ts';
import { readLogRecords } from '../../src/db/log-records.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { createDatabase } from '../support/database.ts';
import { issuance, openDatabase } from './fixtures.ts';
import { event, recordRevocation, sequenceAll } from './log-fixtures.ts';

test('entries are read with their rows in the order of the log, and without those that are gone', async (t) => {
  const created = await createDatabase();
  const database = openDatabase(created.url);
  t.teardown(async () => {
    await database.close();
    await created.drop();
  });
  const given = issuance();
  await insertIssuances(database, [given]);
  await insertEvents(database, [event({ subject: 'first' })]);
  await recordRevocation(database);
  await insertIssuances(database, [issuance({ evidence: null, entryId: null, entryVersion: null })]);
  await sequenceAll(database, 4);

  const records = await readLogRecords(database, 0, 10);
  t.deepEqual(
    records.map(({ leafIndex, kind }) => [leafIndex, kind]),
    [
      [0, 'issuance'],
      [1, 'operator_event'],
      [2, 'revocation'],
      [3, 'issuance'],
    ],
  );
  const { certificate: _certificate, evidence: _evidence, ...summary } = given;
  const [first, second, third] = records;
  t.deepEqual(first?.row, {
    ...summary,
    publicKeySha256: Buffer.from(summary.publicKeySha256),
    certificateSha256: Buffer.from(summary.certificateSha256),
  });
  t.like(second?.row, { subject: 'first', before: null, after: { a: 1 } });
  t.like(third?.row, { reasonCode: 'keyCompromise', reason: 'lost', denialId: null });
  t.is(first?.leafHash.length, 32);
  t.deepEqual(
    (await readLogRecords(database, 1, 2)).map(({ leafIndex }) => leafIndex),
    [1, 2],
  );
  t.deepEqual(await readLogRecords(database, 4, 2), []);

  // As retention does with an old partition.
  const [partition] = await database.query<{ name: string }>(
    'SELECT tableoid::regclass AS name FROM operator_event',
  );
  await database.query(`ALTER TABLE operator_event DETACH PARTITION ${partition?.name}`);
  t.is((await readLogRecords(database, 1, 1))[0]?.row, null);
});
