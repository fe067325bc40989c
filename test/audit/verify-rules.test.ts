import test from 'ava';
import { PostgresEntryStore } from '../../src/db/entries.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLogSource } from '../../src/db/log-source.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { parseEntry } from '../../src/policy/parse-entry.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { verifyAfter } from './tampering.ts';

const created = await createDatabase();
const database = openDatabase(created.url, { maxConnections: 4 });

test.before(async () => {
  const entries = new PostgresEntryStore(database);
  await entries.create(web({ hint: 'main, not \\u0000' }), 'operator:ada');
  await entries.apply([web({ ttl: '1h', dns_names: ['web.internal'] })], 'operator:grace');
  await entries.delete('web', 'operator:ada');
  await entries.create(web({ federates_with: ['other.test'] }), 'operator:ada');
  await insertIssuances(database, [issuance()]);
  await sequenceAll(database, 5);
});
test.after.always(async () => {
  await database.close();
  await created.drop();
});

function web(fields: object) {
  return parseEntry(
    { id: 'web', spiffe_id: '/web', selectors: ['unix:uid:1000'], ...fields },
    parseTrustDomain('carnet.local'),
  );
}

test.serial('what entries said is what operators wrote: made, changed, deleted and made again', async (t) => {
  t.is((await verifyAfter(database, [])).fault, null);
});

for (const [column, change] of Object.entries({
  entry_id: `'wec'`,
  version: 'version + 10',
  spiffe_id: `'spiffe://carnet.local/wec'`,
  selectors: `'{unix:uid:0}'`,
  dns_names: `'{web.externa1}'`,
  ttl_seconds: 'coalesce(ttl_seconds, 0) + 1',
  hint: `coalesce(hint, '') || '!'`,
  federates_with: `'{evil.test}'`,
  deleted: 'NOT deleted',
  actor: `'operator:eve'`,
}))
  for (const version of [1, 2, 3, 4])
    test.serial(`entry_version.${column} changed in version ${version} is named`, async (t) => {
      const { fault } = await verifyAfter(database, [
        `UPDATE entry_version SET ${column} = ${change} WHERE version = ${version}`,
      ]);
      t.regex(fault ?? 'all holds', /^version \d+ of the entry we[bc] is not what any operator event says/);
    });

test.serial('a version that nobody wrote is named', async (t) => {
  const { fault } = await verifyAfter(database, [
    `INSERT INTO entry_version (entry_id, version, spiffe_id, selectors, dns_names, deleted, actor)
     VALUES ('web', 9, 'spiffe://carnet.local/root', '{unix:uid:0}', '{}', false, 'operator:ada')`,
  ]);
  t.regex(fault ?? 'all holds', /^version 9 of the entry web is not what/);
});

for (const version of [1, 2, 3, 4])
  test.serial(`version ${version} that is gone is named`, async (t) => {
    const { fault } = await verifyAfter(database, [`DELETE FROM entry_version WHERE version = ${version}`]);
    t.regex(
      fault ?? 'all holds',
      /^the version of the entry web is gone that entry\.\w+ of version [1-4] made$/,
    );
  });

for (const [what, statement] of Object.entries({
  'with another selector': `UPDATE entry SET selectors = '{unix:uid:0}'`,
  'with another identity': `UPDATE entry SET spiffe_id = 'spiffe://carnet.local/wec'`,
  'with another life': 'UPDATE entry SET ttl_seconds = 86400',
  'as an earlier version': 'UPDATE entry SET version = 2',
  'no more': 'DELETE FROM entry',
  'beside it': `INSERT INTO entry SELECT 'root', version, spiffe_id, selectors, dns_names FROM entry`,
}))
  test.serial(`an entry that is live ${what} is named`, async (t) => {
    const { fault } = await verifyAfter(database, [statement]);
    t.regex(fault ?? 'all holds', /^the entry (web|root) is not live as its last version says$/);
  });

test.serial('a version whose event may be out of history has nothing to be held against', async (t) => {
  await database.query(
    `INSERT INTO entry_version (entry_id, version, spiffe_id, selectors, dns_names, deleted, actor, recorded_at)
     VALUES ('old', 1, 'spiffe://carnet.local/old', '{unix:uid:0}', '{}', false, 'operator:ada', '2020-01-01 00:00:00+00')`,
  );
  const source = new PostgresLogSource(database);
  const micros = BigInt(Date.parse('2020-01-01T00:00:00Z')) * 1000n;
  t.regex((await source.findFalseRule(micros)) ?? '', /^version 1 of the entry old is not what/);
  t.is(await source.findFalseRule(micros + 1n), 'the entry old is not live as its last version says');
});

for (const [after, version] of [
  ['{"version":"1e3"}', '1e3'],
  ['{"version":99999999999}', '99999999999'],
  ['{"version":1,"hint":"\\u0000"}', null],
  [String.raw`{"version":1,"hint":"\\\\\u0000"}`, null],
  [String.raw`{"version":7,"hint":"\\u0000"}`, '7'],
  ['null', null],
] as const)
  test.serial(
    `an event of an entry whose content is ${after} does not end verifying with an error`,
    async (t) => {
      const undone = new Error('undone');
      const verified = database.transact(async (tx) => {
        await tx.query(
          `INSERT INTO operator_event (actor, action, subject, after, reason)
         VALUES ('operator:eve', 'entry.create', 'odd', $1::json, '')`,
          [after],
        );
        const fault = await new PostgresLogSource(tx).findFalseRule(BigInt(Date.now() + 60_000) * 1000n);
        const named = `the version of the entry odd is gone that entry.create of version ${version} made`;
        t.is(fault, version === null ? 'the entry old is not live as its last version says' : named);
        throw undone;
      });
      t.is(await t.throwsAsync(verified), undone);
    },
  );

test.serial('a gap among the versions is named, also where no event is there to tell', async (t) => {
  await database.query(
    `INSERT INTO entry_version (entry_id, version, spiffe_id, selectors, dns_names, deleted, actor, recorded_at)
     VALUES ('old', 3, 'spiffe://carnet.local/old', '{unix:uid:0}', '{}', true, 'operator:ada', '2020-01-01 00:00:00+00')`,
  );
  const fault = await new PostgresLogSource(database).findFalseRule(BigInt(Date.now()) * 1000n);
  t.is(fault, 'a version of the entry old is gone: it has 2, and the last is 3');
});
