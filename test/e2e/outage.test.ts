import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import pg from 'pg';
import { openDataDir } from '../../src/db/data-dir.ts';
import { type EmbeddedPostgres, embeddedUrl, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createLogger } from '../../src/log.ts';
import {
  type CarnetProcess,
  directoryOf,
  launchCarnet,
  postgresPid,
  startCarnet,
} from '../support/carnet.ts';
import { processesOf } from '../support/leftovers.ts';
import { metric } from '../support/metrics.ts';
import { until } from '../support/until.ts';
import { Watcher } from '../support/watcher.ts';

const STEADY = 'spiffe://carnet.local/steady';
const SHORT = 'spiffe://carnet.local/short';
const OURS = [`unix:uid:${process.getuid?.()}`];

test.serial(
  'a Postgres of its own that is stopped (SIGSTOP): nothing is issued, all stays, and it goes on by itself',
  async (t) => {
    t.timeout(400_000);
    await using carnet = await startCarnet(['--log-level', 'warn']);
    const signal = (name: NodeJS.Signals): void => {
      for (const { pid } of postgresOf(carnet)) process.kill(pid, name);
    };
    await outlives(t, carnet, {
      begin: () => signal('SIGSTOP'),
      end: () => signal('SIGCONT'),
    });
  },
);

test.serial(
  'a Postgres of its own that is killed (-9) is started again, and nobody has to do anything',
  async (t) => {
    t.timeout(400_000);
    await using carnet = await startCarnet(['--log-level', 'warn']);
    await register(carnet);
    await using watcher = new Watcher(carnet.agentSocket, [STEADY]);
    const before = await watcher.other(STEADY);
    const killed = await until('there is a Postgres', () => postgresPid(carnet.dataDir));
    process.kill(killed, 'SIGKILL');
    await until(
      'there is another Postgres',
      () => ![undefined, killed].includes(postgresPid(carnet.dataDir)),
    );
    await until('a newcomer gets an identity', async () => (await carnet.cli('fetch')).code === 0);
    await carnet.ready();
    t.deepEqual([watcher.streams, watcher.held.get(STEADY)], [1, before]);
  },
);

test.serial('a Postgres elsewhere that is away at the start, comes, goes away, and comes back', async (t) => {
  t.timeout(400_000);
  const directory = await directoryOf(undefined);
  const log = createLogger('fatal');
  const dataDir = openDataDir(directory);
  const start = (): Promise<EmbeddedPostgres> => startEmbeddedPostgres({ dataDir, log });
  await using carnet = await launchCarnet(['--database-url', embeddedUrl(directory), '--log-level', 'warn']);

  await until('the server lives', async () => (await fetch(`${carnet.url}/healthz`).catch(() => null))?.ok);
  const waiting = await until('it has noticed', async () => {
    const { status, failed } = await readiness(carnet);
    return failed.includes('database') ? { status, failed } : null;
  });
  t.is(waiting.status, 503);
  let postgres = await start();
  await carnet.ready();

  await outlives(t, carnet, {
    begin: () => postgres.stop(),
    end: async () => {
      postgres = await start();
    },
    untilRenewalFails: true,
  });
  await carnet.stop();
  await postgres.stop();
  dataDir.close();
});

const disk = mountDisk();
(disk === null ? test.serial.skip : test.serial)(
  'a full disk: first tables cannot grow, then Postgres cannot run; it goes on by itself when there is room',
  async (t) => {
    t.timeout(400_000);
    const ballast = join(disk ?? '', 'ballast');
    await using carnet = await launchCarnet(['--log-level', 'warn'], { parent: disk ?? '' });
    await carnet.ready();
    await outlives(t, carnet, {
      begin: async () => {
        fill(ballast);
        // Pages that the table has already take some more.
        await until('no more can be recorded', async () => (await carnet.cli('fetch')).code === 1);
      },
      end: () => rmSync(ballast),
      failing: 'recording',
      untilRenewalFails: true,
    });
    const client = new pg.Client((await carnet.cli('db', 'url')).stdout.trim());
    await client.connect();
    client.on('error', () => undefined);
    await outlives(t, carnet, {
      begin: async () => {
        fill(ballast);
        await t.throwsAsync(fillLog(client));
      },
      end: () => rmSync(ballast),
      failing: 'database',
    });
  },
);

interface Outage {
  begin(): unknown;
  end(): unknown;
  /** The check that says so. */
  readonly failing?: 'database' | 'recording';
  /** It lasts until a renewal failed. */
  readonly untilRenewalFails?: boolean;
}

/** Takes the database away, sees that only issuing stops, brings it back, and sees that it goes on by itself. */
async function outlives(t: ExecutionContext, carnet: CarnetProcess, outage: Outage): Promise<void> {
  await register(carnet);
  await using proxy = new Watcher(carnet.agentSocket, [STEADY, SHORT]);
  const steady = await proxy.other(STEADY);
  await proxy.other(SHORT);
  const logged = carnet.log().length;

  await outage.begin();
  const began = performance.now();
  const newcomer = carnet.cli('fetch');
  const { status, detail } = await until('readiness says so', async () => {
    const answer = await readiness(carnet);
    return answer.failed.includes(outage.failing ?? 'database') ? answer : null;
  });
  t.log(`${(performance.now() - began).toFixed(0)} ms later readiness says: ${detail}`);
  t.is(status, 503);
  t.is((await fetch(`${carnet.url}/healthz`)).status, 200);
  t.is(await metric(carnet.url, DATABASE_UP), 0);
  const issued = await metric(carnet.url, ISSUED);
  const failed = await metric(carnet.url, FAILED);
  {
    await using reconnected = new Watcher(carnet.agentSocket, [STEADY]);
    t.is(await reconnected.other(STEADY), steady);
  }
  const { code, stdout, stderr } = await newcomer;
  t.deepEqual([code, stdout], [1, '']);
  t.log(`a newcomer is told: ${stderr.trim()}`);
  await until('tries fail', async () => (await metric(carnet.url, FAILED)) > failed);
  if (outage.untilRenewalFails === true)
    await until('a renewal fails', () => /"a leaf could not be renewed/.test(carnet.log().slice(logged)));
  t.deepEqual([proxy.streams, proxy.held.get(STEADY)], [1, steady]);
  // Where only growing fails, single rows may still find room, and be recorded.
  if (outage.failing !== 'recording') t.is(await metric(carnet.url, ISSUED), issued);

  const short = proxy.held.get(SHORT);
  await outage.end();
  const ended = performance.now();
  await carnet.ready();
  t.log(`ready ${(performance.now() - ended).toFixed(0)} ms after it was over`);
  await proxy.other(SHORT, short);
  await until('the metric says so', async () => (await metric(carnet.url, DATABASE_UP)) === 1);
  t.deepEqual([proxy.streams, proxy.held.get(STEADY)], [1, steady]);
  t.is((await carnet.cli('fetch')).code, 0);
  for (const serial of proxy.seen) await t.notThrowsAsync(carnet.call('GET', `/v1/issuances/${serial}`));
}

const DATABASE_UP = 'carnet_database_up';
const ISSUED = 'carnet_issuances_total{profile="x509-svid",result="issued"}';
const FAILED = 'carnet_leaf_renewal_failures_total';

/** Grants this process an identity for the whole test and one that is renewed all the while. */
async function register(carnet: CarnetProcess): Promise<void> {
  const entries = [
    { id: 'steady', spiffe_id: STEADY, selectors: OURS, ttl: '1h' },
    { id: 'short', spiffe_id: SHORT, selectors: OURS, ttl: '12s' },
    // A newcomer needs room for many.
    ...Array.from({ length: 100 }, (_, i) => ({ id: `more-${i}`, spiffe_id: `/more/${i}`, selectors: OURS })),
  ];
  await carnet.call('POST', '/v1/entries:apply', { entries });
}

interface Answer {
  readonly status: number;
  readonly failed: readonly string[];
  readonly detail: string;
}

async function readiness(carnet: CarnetProcess): Promise<Answer> {
  const response = await fetch(`${carnet.url}/readyz`);
  const { checks } = (await response.json()) as { checks: { name: string; ok: boolean; detail: string }[] };
  const failed = checks.filter(({ ok }) => !ok);
  return {
    status: response.status,
    failed: failed.map(({ name }) => name),
    detail: failed.map(({ name, detail }) => `${name}: ${detail}`).join('; '),
  };
}

function postgresOf(carnet: CarnetProcess): { pid: number }[] {
  return processesOf(carnet.dataDir).filter(({ command }) => /^(postgres:|\S*\/postgres -D)/.test(command));
}

/** A disk of its own, small enough to be filled: where we may mount one. */
function mountDisk(): string | null {
  const directory = join(process.env.TMPDIR ?? '/tmp', 'disk');
  mkdirSync(directory);
  const options = ['-t', 'tmpfs', '-o', 'size=160m,mode=0755', 'tmpfs', directory];
  const mounted = spawnSync('mount', options).status === 0;
  if (mounted) test.after.always(() => void spawnSync('umount', ['--lazy', directory]));
  return mounted ? directory : null;
}

/** Writes until nothing more fits. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  for (let size = 1 << 20; size >= 4096; size >>= 1)
    try {
      for (;;) writeSync(file, Buffer.alloc(size));
    } catch {
      // Half of it may fit.
    }
  closeSync(file);
}

/** Makes Postgres write its log until it fails: it keeps some files of it in advance. */
async function fillLog(client: pg.Client): Promise<never> {
  for (;;) await client.query(`SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))`);
}
