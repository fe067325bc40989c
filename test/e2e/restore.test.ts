import test from 'ava';
import pg from 'pg';
import { administer, type TestDatabase, urlOf } from '../support/database.ts';
import { type Load, startLoad } from '../support/load.ts';
import { startPair } from '../support/pair.ts';
import { type Replicas, rootsOf, startReplicas } from '../support/replicas.ts';
import { until } from '../support/until.ts';

const PER_SECOND = 30;

test.serial(
  'an older backup is restored under Envoys that hold what it does not know: listed, no serial twice, no handshake fails',
  async (t) => {
    t.timeout(400_000);
    await using replicas = await startReplicas(1, ['--leaf-ttl', '1h', '--log-level', 'warn']);
    const [carnet] = replicas.servers as [(typeof replicas.servers)[number]];
    const pair = await startPair({
      agentSocket: carnet.agentSocket,
      // Says of each secret what it has when it reconnects; the other variant has one version for all on a stream.
      apiType: 'DELTA_GRPC',
      trustDomain: 'carnet.local',
      register: (entry) => replicas.call(0, 'POST', '/v1/entries', entry),
    });
    const load = startLoad(pair.port, PER_SECOND);
    const name = nameOf(replicas.database);
    try {
      await until('traffic flows', () => load.stats.handshakes > 0);
      await copy(name, `${name}_backup`);
      const kept = await serialsOf(name);
      const keptSequence = await sequenceOf(replicas);

      // What is lost: leaves of both Envoys, an entry, and a later bundle, with another root.
      await reissue(replicas);
      await until('both have leaves that the backup lacks', () =>
        [load.stats.clientSerials, load.stats.serverSerials].every((seen) =>
          [...seen].some((serial) => !kept.has(serial)),
        ),
      );
      await replicas.call(0, 'POST', '/v1/entries', {
        id: 'lost',
        spiffe_id: '/lost',
        selectors: ['unix:uid:4242'],
      });
      t.is((await replicas.cli(0, 'root', 'prepare', '--reason', 'test')).code, 0);
      const lostSequence = await until('both Envoys have the later bundle', async () => {
        const sequence = await sequenceOf(replicas);
        return sequence > keptSequence && (await everyoneHas(replicas, sequence)) ? sequence : null;
      });
      await carnet.kill();
      await endSessions(name);
      await administer(`ALTER DATABASE ${name} RENAME TO ${name}_lost`);
      await administer(`ALTER DATABASE ${name}_backup RENAME TO ${name}`);
      await carnet.restart();
      t.true((await sequenceOf(replicas)) < lostSequence);

      const lost = difference(await serialsOf(`${name}_lost`), kept);
      const named = await until('doctor names the certificates of both, and the bundle', async () => {
        const details = await recordsFound(replicas);
        const serials = new Set([...lost].filter((serial) => details.some((text) => text.includes(serial))));
        const bundle = details.some((text) => text.includes(`ROOTCA ${lostSequence}-`));
        return serials.size >= 2 && bundle ? details : null;
      });
      t.log(`${lost.size} leaves were lost; doctor: ${named.join('; ')}`);

      const { code, stderr } = await replicas.cli(0, 'root', 'rotate', '--reason', 'test');
      t.is(code, 0, stderr);
      t.true((await sequenceOf(replicas)) > lostSequence);
      t.deepEqual(
        (await rootsOf(replicas)).map(({ state }) => state),
        ['retired', 'active'],
      );
      const fresh = difference(await serialsOf(name), kept);
      t.true(fresh.size >= 4);
      t.is([...fresh].filter((serial) => lost.has(serial)).length, 0);
      await untilSeen(load, fresh);
      await load.stop();
      t.log(`${load.stats.handshakes} handshakes, ${load.stats.failures} failed`);
      t.deepEqual(load.stats.errors, []);
      t.is(load.stats.failures, 0);
    } finally {
      await load.stop();
      await pair.stop();
      for (const other of [`${name}_backup`, `${name}_lost`])
        await administer(`DROP DATABASE IF EXISTS ${other} WITH (FORCE)`);
    }
  },
);

/** Every leaf is issued anew, as what it may say has changed. */
async function reissue(replicas: Replicas): Promise<void> {
  const { items } = (await replicas.call(0, 'GET', '/v1/entries')) as {
    items: { id: string; spiffe_id: string; selectors: string[] }[];
  };
  const entries = items
    .filter(({ id }) => id.startsWith('pair-'))
    .map(({ id, spiffe_id, selectors }) => ({ id, spiffe_id, selectors, dns_names: ['lost.test'] }));
  await replicas.call(0, 'POST', '/v1/entries:apply', { entries });
}

/** As `pg_dump` and a restore would make it; a copy wants the original without sessions for its time. */
async function copy(from: string, to: string): Promise<void> {
  await administer(`ALTER DATABASE ${from} ALLOW_CONNECTIONS false`);
  await endSessions(from);
  await administer(`CREATE DATABASE ${to} TEMPLATE ${from}`);
  await administer(`ALTER DATABASE ${from} ALLOW_CONNECTIONS true`);
}

/** What was killed may leave some for a moment. */
async function endSessions(database: string): Promise<void> {
  await administer(
    `SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = '${database}'`,
  );
}

async function serialsOf(database: string): Promise<Set<string>> {
  const client = new pg.Client(urlOf(database));
  await client.connect();
  try {
    const { rows } = await client.query<{ serial: string }>(
      "SELECT encode(serial, 'hex') AS serial FROM issuance",
    );
    return new Set(rows.map(({ serial }) => serial));
  } finally {
    await client.end();
  }
}

async function sequenceOf(replicas: Replicas): Promise<number> {
  const { spiffe_sequence } = (await replicas.call(0, 'GET', '/v1/bundle')) as { spiffe_sequence: number };
  return spiffe_sequence;
}

async function everyoneHas(replicas: Replicas, sequence: number): Promise<boolean> {
  const { items } = (await replicas.call(0, 'GET', '/v1/proxies')) as {
    items: { resources: { name: string; version_acknowledged: string | null }[] }[];
  };
  return items
    .flatMap(({ resources }) => resources)
    .filter(({ name }) => name === 'ROOTCA')
    .every(({ version_acknowledged }) => version_acknowledged?.startsWith(`${sequence}-`));
}

/** What doctor warns of in the check of records. */
async function recordsFound(replicas: Replicas): Promise<string[]> {
  const { stdout } = await replicas.cli(0, 'doctor', '--json');
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { check: string; level: string; detail: string })
    .filter(({ check, level }) => check === 'records' && level === 'warn')
    .map(({ detail }) => detail);
}

/** Until both Envoys have presented what was issued after the restore. */
async function untilSeen({ stats }: Load, serials: ReadonlySet<string>): Promise<void> {
  await until('both present new leaves', () =>
    [stats.clientSerials, stats.serverSerials].every((seen) => [...seen].some((one) => serials.has(one))),
  );
}

function difference(all: ReadonlySet<string>, without: ReadonlySet<string>): Set<string> {
  return new Set([...all].filter((one) => !without.has(one)));
}

function nameOf({ url }: TestDatabase): string {
  return new URL(url).pathname.slice(1);
}
