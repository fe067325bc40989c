import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { openDataDir } from '../../src/db/data-dir.ts';
import type { Database } from '../../src/db/database.ts';
import { startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { issuance, log, openDatabase } from '../db/fixtures.ts';
import { event } from '../db/log-fixtures.ts';
import { directoryOf, postgresPid } from '../support/carnet.ts';
import { installPauses, MOMENTS, pauseAt, resume } from '../support/pausing.ts';
import { type Replicas, startReplicas } from '../support/replicas.ts';
import { until } from '../support/until.ts';

const VICTIMS = ['the server', 'its connection', 'PostgreSQL'] as const;
/** Some hundred records a second, and no more: the rest of the machine has to come up again. */
const PAUSE_MS = 50;

test('two servers that sequence under load, and PostgreSQL, each killed (-9) at every write: one tree, nothing lost or twice', async (t) => {
  // Begins anew with each assertion, and so with each kill.
  t.timeout(400_000);
  await using stack = new AsyncDisposableStack();
  const directory = await directoryOf(undefined);
  stack.defer(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  const dataDir = openDataDir(directory);
  stack.defer(() => dataDir.close());
  // As in production: a commit that returns is on disk.
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  stack.defer(() => postgres.stop());
  const replicas = stack.use(
    await startReplicas(2, ['--no-agent', '--grpc-addr', 'off'], {
      url: postgres.url,
      drop: async () => undefined,
    }),
  );
  const database = openDatabase(postgres.url, { maxConnections: 3 });
  stack.defer(() => database.close());
  await installPauses(database);

  const load = startLoad(database);
  stack.defer(async () => void (await load.stop()));
  const auditor = startAuditor(replicas);
  stack.defer(async () => void (await auditor.stop()));
  for (const moment of MOMENTS)
    for (const victim of VICTIMS) {
      const before = await sizeOf(database);
      const { name, pid } = await pauseAt(database, moment);
      const server = replicas.servers[Number(name.replace('node-', ''))];
      if (victim === 'PostgreSQL') killPostgres(directory);
      else if (victim === 'the server') await server?.kill();
      else await database.query('SELECT pg_terminate_backend($1)', [pid]);
      await resume(database);
      await until(
        `the log grows after ${victim} was killed ${moment}`,
        async () => (await sizeOf(database)) > before,
      );
      if (victim === 'the server') await server?.restart();
      t.pass();
    }
  const recorded = await load.stop();
  const checkpoints = await auditor.stop();
  t.log(
    `${MOMENTS.length * VICTIMS.length} kills, ${recorded.length} acknowledged records, ${checkpoints.length} checkpoints kept`,
  );
  t.true(recorded.length > 0 && checkpoints.length > MOMENTS.length);

  const { size } = await until('all is in the log', async () => {
    const state = (await replicas.call(0, 'GET', '/v1/log')) as {
      size: number;
      waiting_since: string | null;
    };
    return state.waiting_since === null && state;
  });
  const [counted] = await database.query<{ rows: string; entries: string; twice: string }>(
    `SELECT (SELECT count(*) FROM issuance) + (SELECT count(*) FROM revocation) + (SELECT count(*) FROM operator_event) AS rows,
       (SELECT count(*) FROM log_entry) AS entries,
       (SELECT count(*) FROM (SELECT FROM log_entry GROUP BY kind, row_id HAVING count(*) > 1) AS two) AS twice`,
  );
  t.deepEqual(counted, { rows: String(size), entries: String(size), twice: '0' });
  const lost = await database.query(
    `SELECT given FROM unnest($1::text[]) AS given WHERE NOT EXISTS (
       SELECT FROM issuance JOIN log_entry ON kind = 1 AND row_id = issuance.id WHERE serial = decode(given, 'hex'))`,
    [recorded],
  );
  t.deepEqual(lost, [], 'what was acknowledged is on record and in the log');

  // All checkpoints that are stored, and each that was seen from outside, before whatever kill.
  const kept = checkpoints.flatMap((note, i) => {
    const file = join(directory, `${i}.checkpoint`);
    writeFileSync(file, note);
    return ['--checkpoint', file];
  });
  const verified = await replicas.servers[0]?.cli(
    'audit',
    'verify',
    '--database-url',
    postgres.url,
    '--json',
    ...kept,
  );
  t.is(verified?.code, 0, verified?.stderr);
  t.like(JSON.parse(verified?.stdout ?? ''), { ok: true, size });
});

/** Records without end, and knows what was acknowledged: whatever a failed commit came to is not. */
function startLoad(database: Database) {
  const acknowledged: string[] = [];
  let loading = true;
  const working = (async () => {
    while (loading) {
      const batch = Array.from({ length: 50 }, () => issuance());
      try {
        await insertIssuances(database, batch);
        acknowledged.push(...batch.map(({ serial }) => serial));
        await insertEvents(database, [event()]);
      } catch {
        // Of this batch nobody knows.
      }
      await pause(PAUSE_MS);
    }
  })();
  return {
    stop: async () => {
      loading = false;
      await working;
      return acknowledged;
    },
  };
}

/** Keeps each checkpoint that the servers publish, as one does who does not trust them. */
function startAuditor({ servers }: Replicas) {
  const seen = new Set<string>();
  let watching = true;
  const working = (async () => {
    while (watching) {
      for (const { url } of servers) {
        const response = await fetch(`${url}/log/checkpoint`).catch(() => null);
        const note = await response?.text().catch(() => '');
        if (response?.ok && note) seen.add(note);
      }
      await pause(PAUSE_MS);
    }
  })();
  return {
    stop: async () => {
      watching = false;
      await working;
      return [...seen];
    },
  };
}

async function sizeOf(database: Database): Promise<number> {
  const rows = await database
    .query<{ size: string }>('SELECT max(size) AS size FROM log_checkpoint')
    .catch(() => []);
  return Number(rows[0]?.size ?? 0);
}

/** The first process and all of its children, before it can tell them anything. */
function killPostgres(dataDir: string): void {
  const first = postgresPid(dataDir);
  if (first === undefined) throw new Error('there is no PostgreSQL');
  const children = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && parentOf(pid) === first);
  for (const pid of [first, ...children.map(Number)])
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
}
