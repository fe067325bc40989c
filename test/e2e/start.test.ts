import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { IS_ROOT, NOBODY } from '../attestation/caller.ts';
import { TestClient } from '../sds/harness.ts';
import {
  type CarnetProcess,
  directoryOf,
  type Ended,
  endOf,
  launchCarnet,
  postgresPid,
  runCarnet,
  startCarnet,
  type User,
} from '../support/carnet.ts';
import { checkoutFor } from '../support/checkout.ts';
import { freePort } from '../support/free-port.ts';
import { processesOf } from '../support/leftovers.ts';
import { until } from '../support/until.ts';

const OURSELVES = undefined;
const USERS: (User | undefined)[] = IS_ROOT ? [OURSELVES, { uid: NOBODY, gid: NOBODY }] : [OURSELVES];

for (const user of USERS)
  test.serial(
    `npm start as ${nameOf(user)}: the commands on its screen work, and so does a later start`,
    async (t) => {
      t.timeout(400_000);
      using checkout = checkoutFor(user);
      if (checkout.copied) t.log('on a copy: the checkout itself is closed to this user');
      const directory = await directoryOf(user);
      const start = (): Promise<NpmStart> => npmStart(checkout.path, directory, user);

      await using first = await start();
      t.log(`first start: ready after ${first.ms.toFixed(0)} ms`);
      const outputs: Ended[] = [];
      for (const command of first.commands) outputs.push(await first.run(command));
      t.deepEqual(
        outputs.map(({ code }) => code),
        [0, 0, 0],
        outputs.map(({ stderr }) => stderr).join(''),
      );
      for (const { stdout } of outputs)
        t.true(stdout.includes(`spiffe://carnet.local/user/${nameOf(user)}`), stdout);
      for (const secret of ['admin.token', 'auditor.token', 'key-encryption-key']) {
        const { mode, uid } = statSync(join(first.dataDir, secret));
        t.deepEqual([mode & 0o777, uid], [0o600, user?.uid ?? process.getuid?.()], secret);
      }
      await first.ctrlC();
      t.deepEqual(processesOf(first.dataDir), []);

      await using later = await start();
      t.log(`later start: ready after ${later.ms.toFixed(0)} ms`);
      t.is(later.root, first.root);
      await later.ctrlC();
      t.deepEqual(processesOf(first.dataDir), []);
    },
  );

test.serial(
  'a second start on the same data is refused by name of the first; after kill -9 it takes over',
  async (t) => {
    t.timeout(400_000);
    await using carnet = await startCarnet();
    const before = await fetched(carnet);
    const address = ['--http-addr', `127.0.0.1:${await freePort()}`];
    const second = await runCarnet(['server', '--data-dir', carnet.dataDir, ...address]);
    t.deepEqual([second.code, second.stdout], [1, '']);
    t.is(
      second.stderr,
      `carnet: the data directory ${carnet.dataDir} is in use by process ${carnet.pid}: stop that one first, or choose another with --data-dir\n`,
    );

    const orphan = postgresPid(carnet.dataDir) ?? 0;
    await carnet.kill();
    t.true(existsSync(`/proc/${orphan}`));
    t.log(`after kill -9 ready after ${(await carnet.restart()).toFixed(0)} ms`);
    t.not(postgresPid(carnet.dataDir), orphan);
    const after = await fetched(carnet);
    t.deepEqual(after.bundle, before.bundle);
    t.not(after.serial, before.serial);
  },
);

test.serial('Ctrl-C with proxies connected ends all of it in bounded time', async (t) => {
  t.timeout(400_000);
  await using carnet = await startCarnet();
  const clients = Array.from({ length: 50 }, () => new TestClient(carnet.agentSocket, 'proxy'));
  const ends = clients.map(async (client, i) => {
    const stream = i % 2 === 0 ? client.stream() : client.delta();
    stream.send({ resourceNames: ['default'], resourceNamesSubscribe: ['default'] });
    await stream.next();
    return { ended: stream.ended };
  });
  const streams = await Promise.all(ends);
  const { code, ms } = await carnet.stop();
  t.log(`ended after ${ms.toFixed(0)} ms with ${streams.length} proxies connected`);
  // 1 if it took longer than 30 s.
  t.is(code, 0);
  for (const { ended } of streams) t.is((await ended).code, status.UNAVAILABLE);
  for (const client of clients) client.close();
  t.deepEqual(processesOf(carnet.dataDir), []);
});

/** Moments of a first start, in the order in which they come, by the files and what this start has said. */
const MOMENTS: [what: string, isNow: (carnet: CarnetProcess, said: string) => boolean][] = [
  ['the data directory is locked', () => true],
  ['the database is being made', ({ dataDir }) => existsSync(join(dataDir, 'postgres.new/PG_VERSION'))],
  ['the database starts', ({ dataDir }) => postgresPid(dataDir) !== undefined],
  ['the tables are there', (_, said) => said.includes('the database was migrated')],
];

/** By then it hears signals; what an earlier start left behind tells nothing of this one. */
function hasLocked({ dataDir, pid }: CarnetProcess): boolean {
  const lock = join(dataDir, 'carnet.lock');
  return existsSync(lock) && readFileSync(lock, 'utf8').trim() === String(pid);
}

test.serial(
  'Ctrl-C at any moment of the first start ends all of it, and the next start goes on from there',
  async (t) => {
    t.timeout(400_000);
    await using carnet = await launchCarnet([]);
    let before = 0;
    for (const [moment, isNow] of MOMENTS) {
      const said = (): string => carnet.log().slice(before);
      const isOver = (): boolean => said().includes('Carnet is ready');
      await until(moment, () => hasLocked(carnet) && (isNow(carnet, said()) || isOver()));
      const { code, signal, ms } = await carnet.stop();
      t.log(`when ${moment}: ended after ${ms.toFixed(0)} ms${isOver() ? ', too late for that' : ''}`);
      t.is(code, 0, `ended by ${signal}: ${carnet.log()}`);
      t.deepEqual(processesOf(carnet.dataDir), []);
      before = carnet.log().length;
      carnet.start();
    }
    await carnet.ready();
    t.truthy(await fetched(carnet));
  },
);

test.serial('an address that is taken is said to be, and nothing is left running', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const directory = await directoryOf(OURSELVES);
  const args = [
    'server',
    '--data-dir',
    directory,
    '--http-addr',
    `127.0.0.1:${port}`,
    '--log-level',
    'fatal',
  ];
  const { code, stdout, stderr } = await runCarnet(args);
  server.close();
  t.deepEqual([code, stdout], [2, '']);
  t.is(
    stderr,
    `carnet: --http-addr 127.0.0.1:${port} can't be had: something listens there already; give another\n`,
  );
  t.deepEqual(processesOf(directory), []);
});

test.serial('what cannot be is bad usage, by the name of the setting', async (t) => {
  const directory = await directoryOf(OURSELVES);
  const file = join(directory, 'file');
  writeFileSync(file, 'leaf_ttl: forever\n');
  const dataDir = ['--data-dir', join(directory, 'data')];
  const table: [args: string[], env: NodeJS.ProcessEnv, named: string][] = [
    [[...dataDir, '--leaf-ttl', '5 parsecs'], {}, '--leaf-ttl'],
    [dataDir, { CARNET_HTTP_ADDR: 'nowhere' }, 'CARNET_HTTP_ADDR'],
    [[...dataDir, '--config', file], {}, 'leaf_ttl in the file'],
    [[...dataDir, '--leaf-tll', '1h'], {}, '--leaf-tll'],
    [['--data-dir', file], {}, `the data directory ${file}`],
    [[...dataDir, '--agent-socket', `/tmp/${'x'.repeat(108)}`], {}, '--agent-socket'],
  ];
  await Promise.all(
    table.map(async ([args, env, named]) => {
      const { code, stdout, stderr } = await runCarnet(['server', '--log-level', 'fatal', ...args], { env });
      t.deepEqual([code, stdout], [2, ''], stderr);
      t.true(stderr.includes(named), stderr);
    }),
  );
  t.deepEqual(processesOf(directory), []);
});

/** A server as a newcomer starts it, and what its screen tells. */
interface NpmStart extends AsyncDisposable {
  readonly dataDir: string;
  /** Until it was ready. */
  readonly ms: number;
  /** The root's fingerprint. */
  readonly root: string;
  /** To try. */
  readonly commands: readonly string[];
  /** Runs a command in another terminal. */
  run(command: string): Promise<Ended>;
  /** As a terminal does it: to all of them, npm and its shell too. */
  ctrlC(): Promise<void>;
}

async function npmStart(checkout: string, directory: string, user: User | undefined): Promise<NpmStart> {
  const dataDir = join(directory, 'data');
  const port = await freePort();
  const settings = ['--data-dir', dataDir, '--http-addr', `127.0.0.1:${port}`];
  const env = { ...process.env, HOME: directory, NO_COLOR: '1' };
  const as = { cwd: checkout, env, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'], ...user };
  const begin = performance.now();
  const npm = spawn('npm', ['start', '--', ...settings], { ...as, detached: true });
  const ended = endOf(npm);
  const ctrlC = async (): Promise<void> => {
    if (npm.exitCode === null && npm.signalCode === null) process.kill(-(npm.pid ?? 0), 'SIGINT');
    await ended;
  };
  let screen = '';
  npm.stdout.on('data', (text: string) => {
    screen += text;
  });
  await until('it is ready', async () => {
    if (npm.exitCode !== null) throw new Error(`npm start ended: ${(await ended).stderr}`);
    return (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null))?.ok === true;
  });
  const ms = performance.now() - begin;
  await until('the screen shows how to stop it', () => screen.includes('Ctrl-C stops it'));
  return {
    dataDir,
    ms,
    root: /root SHA-256 +([0-9a-f]{64})/.exec(screen)?.[1] ?? '',
    commands: [...screen.matchAll(/^ {2}(\S.*?) +# /gm)].map(([, command = '']) => command),
    run: (command) => endOf(spawn('/bin/sh', ['-c', command], as)),
    ctrlC,
    [Symbol.asyncDispose]: ctrlC,
  };
}

function nameOf(user: User | undefined): string {
  return spawnSync('id', ['-un'], { encoding: 'utf8', ...user }).stdout.trim();
}

async function fetched(carnet: CarnetProcess): Promise<{ serial: string; bundle: unknown }> {
  const { code, stdout, stderr } = await carnet.cli('fetch', '--json');
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as { serial: string; bundle: unknown };
}
