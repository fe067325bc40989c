import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { formatVerifierKey } from '../../src/audit/log/note.ts';
import { auditCommand } from '../../src/cli/audit.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { fillLog, keyOf, SIZE, switchTriggers } from '../audit/tampering.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { endOf, spawnCarnet } from '../support/carnet.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { runCommand } from './harness.ts';

const created = await createDatabase();
const database = openDatabase(created.url, { maxConnections: 4 });
const directory = await mkdtemp(join(tmpdir(), 'carnet-verify-'));
test.before(() => fillLog(database));
test.after.always(async () => {
  await database.close();
  await created.drop();
});

const verify = (...args: string[]) =>
  runCommand(auditCommand, ['verify', '--database-url', created.url, ...args]);

test.serial('keeps what was verified, reads only what came since, and all again with --full', async (t) => {
  const state = join(directory, 'kept');
  const first = await verify('--state', state);
  t.is(first.code, 0, first.stderr);
  t.regex(first.stdout, new RegExp(`^${SIZE} entries and \\d+ checkpoints hold`));
  t.regex(first.stderr, /verified by the key that was found/);

  await insertIssuances(database, [issuance(), issuance()]);
  await sequenceAll(database, SIZE + 2);
  const second = await verify('--state', state);
  t.is(second.code, 0, second.stderr);
  t.regex(
    second.stdout,
    new RegExp(
      `^2 new entries and 1 new checkpoints hold, on top of the ${SIZE} entries that were verified by 2`,
    ),
  );
  t.is(second.stderr, '', 'the key is the one that was kept');
  const third = await verify('--state', state, '--json');
  t.like(JSON.parse(third.stdout), { ok: true, size: SIZE + 2, verified_before: SIZE + 2, fault: null });

  await bypassingTriggers('UPDATE issuance SET requester = requester || $$!$$ WHERE id = 100');
  t.is((await verify('--state', state)).code, 0, 'what was verified before is not read again');
  const kept = readFileSync(state, 'utf8');
  const full = await verify('--state', state, '--full', '--json');
  t.is(full.code, 1);
  const { ok, fault } = JSON.parse(full.stdout) as { ok: boolean; fault: string };
  t.false(ok);
  t.regex(fault, /^entry 102: issuance 100 \(serial [0-9a-f]{32}, spiffe:\S+, recorded 2\S+Z\) was changed/);
  t.is(readFileSync(state, 'utf8'), kept, 'what does not hold is not kept');
  await bypassingTriggers(`UPDATE issuance SET requester = rtrim(requester, '!') WHERE id = 100`);
  t.is((await verify('--state', state, '--full')).code, 0);
  t.deepEqual(await readdir(directory), ['kept'], 'nothing is left beside it');
});

test.serial('refuses a state that is damaged, or of another log', async (t) => {
  const state = join(directory, 'other');
  t.is((await verify('--state', state)).code, 0);
  const text = readFileSync(state, 'utf8');
  const another = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
  const asked = await verify('--state', state, '--verifier-key', another);
  t.is(asked.code, 1);
  t.regex(asked.stderr, /is of the log of carnet.local\/log/);
  t.is((await verify('--state', state, '--verifier-key', formatVerifierKey(await keyOf(database)))).code, 0);
  for (const [what, damaged] of [
    ['cut off', text.slice(0, 100)],
    ['of another format', text.replace('carnet-verified-1', 'carnet-verified-2')],
    ['with another checkpoint', text.replace(/\\n\d+\\n/, '\\n3\\n')],
    ['with another key', text.replace(/carnet\.local\/log\+[^"]+/, another)],
  ] as const) {
    t.not(damaged, text);
    writeFileSync(state, damaged);
    const refused = await verify('--state', state);
    t.is(refused.code, 1, what);
    t.regex(refused.stderr, /is not what carnet audit verify --state wrote/, what);
    t.is(readFileSync(state, 'utf8'), damaged);
  }
});

test.serial('ends at Ctrl-C, also where the database does not answer, and keeps nothing', async (t) => {
  const state = join(directory, 'interrupted');
  const undone = new Error('undone');
  await t.throwsAsync(
    database.transact(async (tx) => {
      await tx.query('LOCK TABLE log_entry IN ACCESS EXCLUSIVE MODE');
      const child = spawnCarnet(['audit', 'verify', '--database-url', created.url, '--state', state]);
      const ended = endOf(child);
      await until('the command waits for the table', async () => {
        const waiting = await database.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
             AND application_name = 'carnet command'`,
        );
        return waiting.length > 0;
      });
      child.kill('SIGINT');
      const { code, stdout, stderr } = await ended;
      t.deepEqual({ code, stdout }, { code: 1, stdout: '' });
      t.regex(stderr, /^carnet: interrupted: nothing was shown/);
      t.false(existsSync(state));
      throw undone;
    }),
    { is: undone },
  );
});

/** As one who owns the tables can. */
async function bypassingTriggers(statement: string): Promise<void> {
  await database.transact(async (tx) => {
    await switchTriggers(tx, 'DISABLE');
    await tx.query(statement);
    await switchTriggers(tx, 'ENABLE');
  });
}
