import test from 'ava';
import type { ReportKey, ReportRequest } from '../../src/audit/report.ts';
import { countIssuances } from '../../src/db/count-issuances.ts';
import { PostgresReports } from '../../src/db/reports.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { createDatabase } from '../support/database.ts';
import { openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const NOW = Date.parse('2026-03-10T12:20:00Z');
const reports = new PostgresReports(database, () => NOW);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

/** As only the owner can: at times of the test's choice; and in the log, without its tree. */
async function recordAt(at: string, fields: Record<string, string | null> = {}): Promise<void> {
  const row = { identity: '/web', entry: 'web', node: 'a', profile: 'x509-svid', ends: '1 hour', ...fields };
  await database.query(
    `WITH added AS (
       INSERT INTO issuance (recorded_at, not_before, not_after, identity, entry_id, entry_version, node, profile, serial,
         dns_names, authority_id, public_key_sha256, certificate_sha256, certificate, requester)
       VALUES ($1, $1, $1::timestamptz + $2::interval, $3, $4, 1, $5, $6, uuid_send(gen_random_uuid()), '{}', 'i', '', '', '', 'r')
       RETURNING xact, id, recorded_at)
     INSERT INTO log_entry (leaf_index, kind, xact, row_id, row_recorded_at, leaf_hash)
     SELECT (SELECT count(*) FROM log_entry), 1, xact, id, recorded_at, sha256('') FROM added`,
    [at, row.ends, row.identity, row.entry, row.node, row.profile],
  );
}

const DAYS = { from: new Date('2026-03-01T00:00:00Z'), to: new Date('2026-04-01T00:00:00Z') };

async function report(by: ReportKey, fields: Partial<ReportRequest> = {}): Promise<[unknown, number][]> {
  const { rows } = await reports.report({ by, ...DAYS, entry: null, limit: 10, ...fields });
  return rows.map(({ key, issued }) => [key instanceof Date ? key.toISOString().slice(5, 13) : key, issued]);
}

test.serial('issuances are counted once each, however often and by however many', async (t) => {
  await recordAt('2026-03-01T00:00:00Z');
  await recordAt('2026-03-01T23:59:59.999999Z', { node: 'b' });
  await recordAt('2026-03-02T00:00:00Z', { identity: '/api' });
  t.is(await countIssuances(database), 3);
  t.is(await countIssuances(database), 0);
  await recordAt('2026-03-02T10:30:00Z', { identity: '/api', entry: 'api' });
  await recordAt('2026-03-02T10:59:00Z', { entry: null, node: null, identity: '/', profile: 'issuing-ca' });
  const counts = await Promise.all([0, 1, 2].map(() => countIssuances(database)));
  t.is(
    counts.reduce((sum, one) => sum + one),
    2,
  );
  t.deepEqual(await report('identity'), [
    ['/api', 2],
    ['/web', 2],
    ['/', 1],
  ]);
  t.deepEqual(await report('node'), [
    ['a', 3],
    ['b', 1],
    [null, 1],
  ]);
  t.deepEqual(await report('entry'), [
    ['web', 3],
    ['api', 1],
    [null, 1],
  ]);
  t.deepEqual(await report('day'), [
    ['03-01T00', 2],
    ['03-02T00', 3],
  ]);
  t.deepEqual(await report('hour', { from: new Date('2026-03-01T23:00:00Z') }), [
    ['03-01T23', 1],
    ['03-02T00', 1],
    ['03-02T10', 2],
  ]);
  t.deepEqual(await report('profile'), [
    ['x509-svid', 4],
    ['issuing-ca', 1],
  ]);
  t.deepEqual(await report('authority'), [['i', 5]]);
});

test.serial(
  'what a rule ever granted has its first and last time, and what was left out is counted',
  async (t) => {
    const found = await reports.report({ by: 'identity', from: null, to: DAYS.to, entry: 'web', limit: 1 });
    t.deepEqual(found, {
      rows: [
        {
          key: '/web',
          issued: 2,
          firstAt: new Date('2026-03-01T00:00:00Z'),
          lastAt: new Date('2026-03-01T23:59:59.999Z'),
        },
      ],
      issued: 3,
      count: 2,
      logSize: 5,
    });
    t.deepEqual(await reports.report({ by: 'identity', from: null, to: DAYS.to, entry: 'none', limit: 1 }), {
      rows: [],
      issued: 0,
      count: 0,
      logSize: 5,
    });
  },
);

test.serial('every identity that a rule ever granted is listed once, page by page', async (t) => {
  await recordAt('2026-03-05T08:00:00Z', { entry: 'pods', identity: '/pods/b' });
  await recordAt('2026-03-05T09:00:00Z', { entry: 'pods', identity: '/pods/a' });
  await recordAt('2026-03-07T09:00:00Z', { entry: 'pods', identity: '/pods/b' });
  await recordAt('2026-03-07T10:00:00Z', { entry: 'pods', identity: '/pods/C' });
  await countIssuances(database);
  const [first, second] = await reports.granted('pods', null, 2);
  t.deepEqual([first?.identity, second?.identity], ['/pods/C', '/pods/a']);
  const b = {
    identity: '/pods/b',
    issued: 2,
    firstAt: new Date('2026-03-05T08:00:00Z'),
    lastAt: new Date('2026-03-07T09:00:00Z'),
  };
  t.deepEqual(await reports.granted('pods', '/pods/a', 2), [b]);
  t.deepEqual(await reports.granted('pods', '/pods/b', 2), []);
  t.deepEqual(await reports.granted('none', null, 2), []);
});

for (const [what, request] of [
  ['a day that begins at noon', { by: 'day', from: new Date('2026-03-01T12:00:00Z') }],
  ['an hour that begins at a quarter', { by: 'hour', to: new Date('2026-03-01T12:15:00Z') }],
  ['more days than are read', { by: 'node', from: new Date('2024-03-01T00:00:00Z') }],
  ['no beginning', { by: 'node', from: null }],
  ['a rule by what is not counted so', { by: 'node', entry: 'web' }],
] as const)
  test(`a report of ${what} is refused`, async (t) => {
    t.is(errorCodeOf(await t.throwsAsync(report(request.by, request))), 'invalid_argument');
  });

test.serial('leaves that are valid now are counted by the hour of their end', async (t) => {
  t.deepEqual(await reports.expiries(24), { hours: [], later: 0 });
  await recordAt('2026-03-10T11:30:00Z');
  await recordAt('2026-03-10T12:10:00Z');
  await recordAt('2026-03-10T12:15:00Z');
  await recordAt('2026-03-08T12:15:00Z', { ends: '3 days' });
  await recordAt('2026-03-01T12:15:00Z', { ends: '25 days' });
  // Ended, a CA, a token, and one that is revoked.
  await recordAt('2026-03-10T11:00:00Z');
  await recordAt('2026-03-10T12:00:00Z', { profile: 'issuing-ca', ends: '3 hours' });
  await recordAt('2026-03-10T12:15:00Z', { profile: 'jwt-svid' });
  await recordAt('2026-03-10T12:16:00Z', { identity: '/revoked' });
  await database.query(
    `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, certificate, not_before, not_after)
     VALUES ('i', 'root', 'active', 'i', 'ec-p256', '', now(), now())`,
  );
  await database.query(
    `INSERT INTO revocation (serial, authority_id, not_after, reason_code, reason, actor)
     SELECT serial, 'i', not_after, 'superseded', '', 'operator:test' FROM issuance WHERE identity = '/revoked'`,
  );
  t.deepEqual(await reports.expiries(24), {
    hours: [
      { hour: new Date('2026-03-10T12:00:00Z'), ending: 1 },
      { hour: new Date('2026-03-10T13:00:00Z'), ending: 2 },
      { hour: new Date('2026-03-11T12:00:00Z'), ending: 0 },
    ].filter(({ ending }) => ending > 0),
    later: 2,
  });
  t.deepEqual((await reports.expiries(25)).hours.at(-1), {
    hour: new Date('2026-03-11T12:00:00Z'),
    ending: 1,
  });
});
