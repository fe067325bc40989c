import test, { type ExecutionContext } from 'ava';
import { ENTRY_COLUMNS, type EntryKind } from '../../src/audit/log/entry.ts';
import { verifyLog } from '../../src/audit/verify-log.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { PostgresLogSource } from '../../src/db/log-source.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { openDatabase } from '../db/fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { fillLog, keyOf, SIZE, verifyAfter } from './tampering.ts';

/** One database for all rows of the matrix: each changes it in a transaction that is rolled back. */
const created = await createDatabase();
const database = openDatabase(created.url, { maxConnections: 4 });
const log = new PostgresLog(database);

test.before(() => fillLog(database));
test.after.always(async () => {
  await database.close();
  await created.drop();
});

async function names(t: ExecutionContext, statements: readonly string[], expected: RegExp): Promise<void> {
  const { fault } = await verifyAfter(database, statements);
  t.regex(fault ?? 'all holds', expected);
}

test.serial('a log that nobody touched holds, with all of its checkpoints', async (t) => {
  const done: number[] = [];
  const key = await keyOf(database);
  const source = new PostgresLogSource(database);
  const onProgress = (count: number): unknown => done.push(count);
  const verified = await verifyLog({ source, key, kept: [], since: null, onProgress });
  t.is(verified.fault, null);
  t.is(verified.head?.size, SIZE);
  t.true(verified.checkpoints >= 3);
  t.is(done[0], 0);
  t.is(done.at(-1), SIZE);
});

/** A row that nobody recorded, in a transaction of its maker's choice. */
function intruder(xact: string): string {
  return `INSERT INTO operator_event (id, xact, recorded_at, actor, action, subject, reason) OVERRIDING SYSTEM VALUE
    VALUES (999999, ${xact}, now(), 'operator:eve', 'entry.create', 'x', '')`;
}

/** Which row of each kind is changed: the last but one. */
const VICTIM = {
  issuance: `id = (SELECT max(id) - 1 FROM issuance)`,
  revocation: `id = (SELECT max(id) - 1 FROM revocation)`,
  operator_event: `id = (SELECT max(id) FROM operator_event)`,
} as const satisfies Record<EntryKind, string>;

/** The least that can be changed, by the type of a column: a byte, a bit, a letter's case, a microsecond. */
const LEAST: Readonly<Record<string, (column: string) => string>> = {
  int8: (column) => `coalesce(${column}, 0) + 1000000`,
  int4: (column) => `${column} + 1`,
  xid8: (column) => `(${column}::text::numeric + 1)::text::xid8`,
  timestamptz: (column) => `${column} + interval '1 microsecond'`,
  bytea: (column) => `set_byte(${column}, 0, get_byte(${column}, 0) # 1)`,
  text: (column) => `overlay(${column} placing '!' from 1 for 1)`,
  _text: (column) => `ARRAY[overlay(${column}[1] placing '!' from 1 for 1)]`,
  json: (column) => `replace(${column}::text, '{', '{ ')::json`,
};

for (const kind of Object.keys(ENTRY_COLUMNS) as EntryKind[])
  for (const column of ENTRY_COLUMNS[kind])
    test.serial(`one byte changed in ${kind}.${column} is named with its row`, async (t) => {
      const [type] = await database.query<{ name: string }>(
        `SELECT t.typname AS name FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
         WHERE attrelid = $1::regclass AND attname = $2`,
        [kind, column],
      );
      const least = LEAST[type?.name ?? ''];
      if (least === undefined) return t.fail(`no way to change a ${type?.name}`);
      const change = column === 'id' ? `ALTER TABLE ${kind} ALTER COLUMN id DROP IDENTITY` : `SELECT`;
      await names(
        t,
        [
          // A revocation names a denial and an authority that there are.
          'ALTER TABLE revocation DROP CONSTRAINT revocation_denial_id_fkey, DROP CONSTRAINT revocation_authority_id_fkey',
          change,
          `UPDATE ${kind} SET ${column} = ${least(column)} WHERE ${VICTIM[kind]}`,
        ],
        new RegExp(`^entry \\d+: ${kind} \\d+.* (was changed after it was logged|is gone, or has another)`),
      );
    });

for (const [column, change] of Object.entries({
  leaf_index: 'leaf_index + 1000',
  kind: 'kind % 3 + 1',
  xact: '(xact::text::numeric + 1)::text::xid8',
  row_id: 'row_id + 1000000',
  row_recorded_at: "row_recorded_at + interval '1 microsecond'",
  leaf_hash: 'set_byte(leaf_hash, 31, get_byte(leaf_hash, 31) # 1)',
}))
  test.serial(`one byte changed in log_entry.${column} is named with its entry`, (t) =>
    names(
      t,
      [`UPDATE log_entry SET ${column} = ${change} WHERE leaf_index = 310`],
      /^entry 31[01](: (issuance|revocation) \d+ .*(is gone|was changed|is out of order)| is missing)/,
    ),
  );

for (const [what, statements, expected] of [
  [
    'a row deleted',
    [`DELETE FROM issuance WHERE ${VICTIM.issuance}`],
    /^entry \d+: issuance \d+ \(recorded 2\S+Z\) is gone/,
  ],
  [
    'a row deleted with its entry',
    [
      `DELETE FROM issuance WHERE id = (SELECT row_id FROM log_entry WHERE leaf_index = 400)`,
      'DELETE FROM log_entry WHERE leaf_index = 400',
    ],
    /^entry 400 is missing/,
  ],
  [
    'a row inserted among earlier ones',
    [intruder('(SELECT xact FROM operator_event ORDER BY id LIMIT 1)')],
    /^operator_event 999999 .*operator:eve.* is not in the log/,
  ],
  [
    'a row inserted behind others of its transaction',
    [intruder('(SELECT xact FROM issuance ORDER BY id LIMIT 1)')],
    /^operator_event 999999 .*operator:eve.* is not in the log/,
  ],
  [
    'a row inserted that would wait for its transaction for ever',
    [intruder("'900000000000'")],
    /^operator_event 999999 .*operator:eve.* has no transaction, or one that has not begun yet/,
  ],
  [
    'a row inserted without a transaction',
    ['ALTER TABLE operator_event ALTER COLUMN xact DROP NOT NULL', intruder('NULL')],
    /^operator_event 999999 .*operator:eve.* has no transaction/,
  ],
  [
    'a row inserted with an entry behind the last',
    [
      `INSERT INTO log_entry SELECT leaf_index + 1, kind, xact, row_id + 1000, row_recorded_at, leaf_hash
       FROM log_entry ORDER BY leaf_index DESC LIMIT 1`,
    ],
    new RegExp(`^entry ${SIZE} is in no checkpoint`),
  ],
  [
    'a row inserted with an entry far behind the last',
    [
      `INSERT INTO log_entry SELECT leaf_index + 5000, kind, xact, row_id + 1000, row_recorded_at, leaf_hash
       FROM log_entry ORDER BY leaf_index DESC LIMIT 1`,
    ],
    new RegExp(`^entry ${SIZE + 4999} is in no checkpoint`),
  ],
  [
    'a row inserted with an entry before the first',
    [
      `ALTER TABLE log_entry DROP CONSTRAINT IF EXISTS log_entry_leaf_index_check`,
      `INSERT INTO log_entry SELECT -1, kind, xact, row_id + 1000, row_recorded_at, leaf_hash
       FROM log_entry ORDER BY leaf_index DESC LIMIT 1`,
    ],
    /^entry -1 is in no checkpoint/,
  ],
  [
    'two rows swapped',
    [
      `UPDATE issuance SET (serial, certificate, certificate_sha256, public_key_sha256) =
         (SELECT serial, certificate, certificate_sha256, public_key_sha256 FROM issuance AS other
          WHERE other.id = CASE issuance.id WHEN 5 THEN 6 ELSE 5 END) WHERE id IN (5, 6)`,
    ],
    /^entry \d+: issuance 5 \(serial [0-9a-f]{32}, spiffe:\S+, recorded 2\S+Z\) was changed/,
  ],
  [
    'two entries swapped',
    [
      `ALTER TABLE log_entry DROP CONSTRAINT log_entry_pkey`,
      `UPDATE log_entry SET leaf_index = 801 - leaf_index WHERE leaf_index IN (400, 401)`,
    ],
    /^entry 401: issuance \d+ \(serial [0-9a-f]{32}, spiffe:\S+, recorded 2\S+Z\) is out of order/,
  ],
  [
    'a row changed together with its leaf hash',
    [
      `UPDATE issuance SET node = 'elsewhere' WHERE id = (SELECT row_id FROM log_entry WHERE leaf_index = 310)`,
      `UPDATE log_entry SET leaf_hash = sha256('\\x00'::bytea || '\\x0101'::bytea || (SELECT record_send(ROW(${ENTRY_COLUMNS.issuance.join(', ')}))
         FROM issuance WHERE id = row_id)) WHERE leaf_index = 310`,
    ],
    /^the checkpoint of \d+ entries is of another tree: of the entries \d+ to \d+/,
  ],
  [
    'a leaf hash rewritten',
    ['UPDATE log_entry SET leaf_hash = sha256(leaf_hash) WHERE leaf_index = 9'],
    /^entry 9: issuance/,
  ],
  [
    'a tile rewritten',
    ['UPDATE log_node SET hash = sha256(hash) WHERE node_index = 1'],
    /^tile 0\/1: .* was changed/,
  ],
  ['a tile taken away', ['DELETE FROM log_node WHERE node_index = 1'], /^tile 0\/1: .* is missing/],
  [
    'a root rewritten',
    ['UPDATE log_checkpoint SET root = sha256(root) WHERE size = 304'],
    /^the checkpoint of 304 entries is not what was signed/,
  ],
  [
    'a note rewritten',
    [`UPDATE log_checkpoint SET note = replace(note, E'\\n304\\n', E'\\n305\\n')`],
    /^the checkpoint of 304 entries does not verify/,
  ],
  [
    'the latest checkpoint taken away',
    [`DELETE FROM log_checkpoint WHERE size = ${SIZE}`],
    /^entry \d+ is in no checkpoint/,
  ],
] as const)
  test.serial(`${what} is named`, (t) => names(t, statements, expected));

test.serial('a database that was set back does not hold against a checkpoint that was kept', async (t) => {
  const head = await log.head();
  const kept = [head?.note ?? ''];
  t.is((await verifyAfter(database, [], { kept })).fault, null);
  const back = [
    'DELETE FROM log_checkpoint WHERE size > 304',
    'DELETE FROM log_entry WHERE leaf_index >= 304',
    'DELETE FROM log_node WHERE node_index >= 1',
  ];
  const issued = 'DELETE FROM issuance WHERE xact > (SELECT max(xact) FROM log_entry)';
  const rest = [
    'DELETE FROM operator_event WHERE xact > (SELECT max(xact) FROM log_entry)',
    'DELETE FROM revocation WHERE xact > (SELECT max(xact) FROM log_entry)',
  ];
  t.is((await verifyAfter(database, [...back, issued, ...rest])).fault, null);
  t.regex(
    (await verifyAfter(database, [...back, issued, ...rest], { kept })).fault ?? '',
    /it was set back$/,
  );
});

test.serial('checkpoints by another key, or kept ones that are none, are told apart', async (t) => {
  const source = new PostgresLogSource(database);
  const key = { name: 'carnet.local/log', publicKey: Buffer.alloc(32, 9) };
  const verified = await verifyLog({ source, key, kept: [], since: null, onProgress: () => undefined });
  t.regex(verified.fault ?? '', /^the checkpoint of \d+ entries does not verify/);
  const error = await t.throwsAsync(verifyAfter(database, [], { kept: ['not a note'] }));
  t.is(errorCodeOf(error), 'invalid_argument');
});
