import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { startApi } from '../api/harness.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { endOf } from '../support/carnet.ts';
import { createDatabase } from '../support/database.ts';
import { buildGo, hasGo } from '../support/go.ts';

/** Three levels of tiles take 65,537: CARNET_TEST_LOG_ENTRIES=100000 has them. */
const ENTRIES = Number(process.env.CARNET_TEST_LOG_ENTRIES ?? 20_000);
const CHECKPOINTS = 50;
const INCLUSIONS = 1000;

test("golang.org/x/mod/sumdb and tessera's fsck find every entry, tile, checkpoint and proof of a log over HTTP as they must be", async (t) => {
  if (!hasGo()) {
    t.log('left out: there is no Go on this machine');
    return t.pass();
  }
  const program = buildGo(join(import.meta.dirname, 'go'), 'audit');
  const created = await createDatabase();
  const database = openDatabase(created.url);
  const directory = mkdtempSync(join(tmpdir(), 'carnet-log-'));
  t.teardown(async () => {
    await database.close();
    await created.drop();
    rmSync(directory, { recursive: true });
  });
  const notes: string[] = [];
  const auditLog = new PostgresLog(database);
  for (let round = 1; round <= CHECKPOINTS; round++) {
    const rows = Array.from({ length: ENTRIES / CHECKPOINTS }, () => issuance());
    await insertIssuances(database, rows);
    await sequenceAll(database, (round * ENTRIES) / CHECKPOINTS, 10_000);
    notes.push((await auditLog.head())?.note ?? '');
  }
  const api = await startApi(t, { auditLog });
  const token = join(directory, 'auditor.token');
  writeFileSync(token, api.bearers.auditor ?? '');
  chmodSync(token, 0o600);

  const check = async (checkpoints: readonly string[]) => {
    const child = spawn(program, [api.url, token, String(INCLUSIONS)], { stdio: 'pipe' });
    child.stdin.end(JSON.stringify(checkpoints));
    return endOf(child);
  };
  const { code, stdout, stderr } = await check(notes);
  t.is(code, 0, stderr);
  const done = JSON.parse(stdout);
  t.like(done, { size: ENTRIES, entries: ENTRIES, checkpoints: CHECKPOINTS, inclusions: INCLUSIONS });
  t.true(done.tiles >= ENTRIES / 256);
  // The checkpoint, and of each 256 entries a bundle and a tile.
  t.true(done.fsck.resources > (2 * ENTRIES) / 256);
  t.log(stdout.trim());

  // It would have noticed.
  const wrong = notes.map((note, i) => (i === 7 ? note.replace(/\n\d+\n/, '\n9\n') : note));
  t.is((await check(wrong)).code, 1);
});
