import test from 'ava';
import { encodeCheckpoint } from '../../src/audit/log/checkpoint.ts';
import { encodeNote, noteSignature } from '../../src/audit/log/note.ts';
import type { Tree } from '../../src/audit/log/proof.ts';
import { verifierOf } from '../../src/audit/log-key.ts';
import type { VerifiedBefore } from '../../src/audit/verify-log.ts';
import { verifyLog } from '../../src/audit/verify-log.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { PostgresLogSource } from '../../src/db/log-source.ts';
import { openDatabase } from '../db/fixtures.ts';
import { sequenceOptions } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { fillLog, keyOf, SIZE, verifyAfter } from './tampering.ts';

const created = await createDatabase();
const database = openDatabase(created.url, { maxConnections: 4 });
test.before(() => fillLog(database));
test.after.always(async () => {
  await database.close();
  await created.drop();
});

/** What a run would have shown that found `size` entries. */
async function verifiedUpTo(size: number): Promise<VerifiedBefore & { readonly note: string }> {
  const source = new PostgresLogSource(database);
  const [checkpoint] = await source.checkpoints(size - 1, size);
  const [last] = await source.entries(size - 1, size);
  if (checkpoint === undefined || last === undefined) throw new Error(`there is no checkpoint of ${size}`);
  return { tree: checkpoint, last, note: checkpoint.note };
}

test.serial('what came since is verified on top of what was, and nothing else', async (t) => {
  const source = new PostgresLogSource(database);
  const key = await keyOf(database);
  for (const size of [3, 304, SIZE]) {
    const read: number[] = [];
    const watched = new Proxy(source, {
      get: (target, name) => {
        if (name === 'entries')
          return (start: number, end: number) => {
            read.push(start);
            return target.entries(start, end);
          };
        const value = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const since = await verifiedUpTo(size);
    const verified = await verifyLog({ source: watched, key, kept: [], since, onProgress: () => undefined });
    t.is(verified.fault, null);
    t.is(verified.head?.size, SIZE);
    t.like(
      verified.last,
      await verifiedUpTo(SIZE).then(({ last: { kind, xact, id } }) => ({ kind, xact, id })),
    );
    t.true(Math.min(...read) >= size - 1);
  }
});

test.serial(
  "a place that is not the last verified entry's, in a state that was altered, is named",
  async (t) => {
    const key = await keyOf(database);
    const since = await verifiedUpTo(304);
    const last = { ...since.last, id: since.last.id + 1n };
    const source = new PostgresLogSource(database);
    const options = { source, key, kept: [], onProgress: () => undefined };
    t.regex(
      (await verifyLog({ ...options, since: { ...since, last } })).fault ?? '',
      /^entry 303, the last that/,
    );
  },
);

/** What somebody does, what a run since 304 entries says of it, and what a whole one does: null for nothing. */
for (const [what, statements, since, whole] of [
  [
    'a new row changed',
    ['UPDATE issuance SET node = $$x$$ WHERE id = 400'],
    /^entry 403: issuance 400 .* was changed/,
    /^entry 403: issuance 400 .* was changed/,
  ],
  [
    'a new row deleted',
    ['DELETE FROM issuance WHERE id = 400'],
    /^entry 403: issuance 400 .* is gone/,
    /^entry 403: /,
  ],
  [
    'a row inserted right behind the last that was verified',
    [
      `INSERT INTO operator_event (id, xact, recorded_at, actor, action, subject, reason) OVERRIDING SYSTEM VALUE
       SELECT 999999, xact, now(), 'operator:eve', 'entry.create', 'x', '' FROM log_entry WHERE leaf_index = 303`,
    ],
    /^operator_event 999999 .* is not in the log/,
    /^operator_event 999999 .* is not in the log/,
  ],
  [
    'the same, and the place of that last entry',
    [
      `INSERT INTO operator_event (id, xact, recorded_at, actor, action, subject, reason) OVERRIDING SYSTEM VALUE
       SELECT 999999, xact, now(), 'operator:eve', 'entry.create', 'x', '' FROM log_entry WHERE leaf_index = 303`,
      // And the entry's own word for where it is, by which a run would begin behind the row.
      `UPDATE log_entry SET kind = 3, row_id = 999999 WHERE leaf_index = 303`,
    ],
    /^entry 303, the last that was verified, has another place/,
    /^entry 303: /,
  ],
  [
    'the log set back',
    [
      'DELETE FROM log_checkpoint WHERE size > 3',
      'DELETE FROM log_entry WHERE leaf_index >= 3',
      'DELETE FROM log_node',
    ],
    /^the log has 3 entries, and had 304 when it was verified: it was set back/,
    null,
  ],
  [
    'the verified checkpoint taken away',
    ['DELETE FROM log_checkpoint WHERE size = 304'],
    /^the checkpoint of 304 entries, which was verified, is missing/,
    null,
  ],
  [
    'a leaf hash below rewritten, which the tree stands on',
    ['UPDATE log_entry SET leaf_hash = sha256(leaf_hash) WHERE leaf_index = 303'],
    /^the stored tree of 304 entries is not the one that was verified/,
    /^entry 303: /,
  ],
  [
    'a leaf hash below taken away, which the tree stands on',
    ['DELETE FROM log_entry WHERE leaf_index = 300'],
    /^the log lacks hashes of level 0/,
    /^entry 300 is missing/,
  ],
  [
    'a tile below rewritten, which the tree stands on',
    ['UPDATE log_node SET hash = sha256(hash) WHERE node_index = 0'],
    /^the stored tree of 304 entries is not the one that was verified/,
    /^tile 0\/0: .* was changed/,
  ],
  // What a run since then does not show, by its nature: only all of the rows again do.
  [
    'a row below changed',
    ['UPDATE issuance SET node = $$x$$ WHERE id = 100'],
    null,
    /^entry 102: issuance 100 .* was changed/,
  ],
  [
    'a row below deleted',
    ['DELETE FROM issuance WHERE id = 100'],
    null,
    /^entry 102: issuance 100 .* is gone/,
  ],
  [
    'a row inserted below',
    [
      `INSERT INTO operator_event (id, xact, recorded_at, actor, action, subject, reason) OVERRIDING SYSTEM VALUE
       SELECT 999999, xact, now(), 'operator:eve', 'entry.create', 'x', '' FROM log_entry WHERE leaf_index = 1`,
    ],
    null,
    /^operator_event 999999 .* is not in the log/,
  ],
  [
    'a leaf hash below rewritten that a tile stands for',
    ['UPDATE log_entry SET leaf_hash = sha256(leaf_hash) WHERE leaf_index = 9'],
    null,
    /^entry 9: /,
  ],
  ['an earlier checkpoint taken away', ['DELETE FROM log_checkpoint WHERE size = 3'], null, null],
] as const)
  test.serial(`since 304 entries, ${what}: ${since === null ? 'does not show' : 'is named'}`, async (t) => {
    const before = await verifiedUpTo(304);
    const later = await verifyAfter(database, statements, { since: before });
    if (since === null) t.is(later.fault, null);
    else t.regex(later.fault ?? 'all holds', since);
    const all = await verifyAfter(database, statements);
    if (whole === null) t.is(all.fault, null);
    else t.regex(all.fault ?? 'all holds', whole);
  });

test.serial(
  'with a run since then, a kept checkpoint from before it is still held against the log',
  async (t) => {
    const [first, since] = [await verifiedUpTo(3), await verifiedUpTo(304)];
    t.is((await verifyAfter(database, [], { since, kept: [first.note, since.note] })).fault, null);
    // As its key would sign for another log of the same name, made anew.
    const anew = await signed({ size: 3, root: Buffer.alloc(32, 1) });
    const { fault } = await verifyAfter(database, [], { since, kept: [anew] });
    t.is(fault, 'the kept checkpoint of 3 entries is of another log than the one that was verified');
    const later = await signed({ size: 305, root: Buffer.alloc(32, 1) });
    t.regex(
      (await verifyAfter(database, [], { since, kept: [later] })).fault ?? '',
      /^the checkpoint of 305 entries is of another tree/,
    );
  },
);

async function signed(tree: Tree): Promise<string> {
  const log = new PostgresLog(database);
  const key = await log.key();
  if (key === null) throw new Error('the log has not begun');
  const text = encodeCheckpoint({ origin: key.origin, ...tree });
  const signature = await sequenceOptions(log).open(key).sign(Buffer.from(text));
  return encodeNote({ text, signatures: [noteSignature(verifierOf(key), signature)] });
}
