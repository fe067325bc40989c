import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { openDataDir } from '../../src/db/data-dir.ts';
import { embeddedUrl } from '../../src/db/embedded.ts';
import { isRunning } from '../../src/db/postmaster-pid.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { openDatabase } from './fixtures.ts';
import { startInProcess, startOwn, temporaryCluster, temporaryDirectory } from './own-cluster.ts';

const isRoot = process.getuid?.() === 0;
/** Any user that isn't us. */
const NOBODY = { uid: 65534, gid: 65534 };
const READ = 'require("node:fs").readFileSync(process.argv[1])';
/** The checkout must be readable to it. */
const canRunAsNobody =
  isRoot &&
  spawnSync(process.execPath, ['-e', READ, import.meta.filename], { ...NOBODY, cwd: '/' }).status === 0;
const asNobody = canRunAsNobody ? test.serial : test.skip;
const asRoot = isRoot ? test.serial : test.skip;

async function ask<Row extends object>(url: string, statement: string): Promise<Row[]> {
  const database = openDatabase(url, { maxConnections: 1 });
  return database.query<Row>(statement).finally(() => database.close());
}

test.serial('the first start makes the cluster, and a later one has its data', async (t) => {
  using directory = temporaryDirectory();
  {
    await using own = await startOwn(directory.path);
    await ask(own.postgres.url, 'CREATE TABLE kept AS SELECT 42 AS n');
    const settings = await ask(
      own.postgres.url,
      `SELECT name, setting FROM pg_settings WHERE name IN
       ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums', 'listen_addresses') ORDER BY name`,
    );
    t.deepEqual(settings, [
      { name: 'data_checksums', setting: 'on' },
      { name: 'fsync', setting: 'on' },
      { name: 'full_page_writes', setting: 'on' },
      { name: 'listen_addresses', setting: '' },
      { name: 'synchronous_commit', setting: 'on' },
    ]);
    const [version] = await ask<{ version: string }>(own.postgres.url, 'SELECT version()');
    t.regex(version?.version ?? '', /^PostgreSQL 18\./);
    t.is(statSync(join(directory.path, 'postgres')).mode & 0o777, 0o700);
  }
  t.false(existsSync(join(directory.path, 'postgres/postmaster.pid')));
  await using own = await startOwn(directory.path);
  t.deepEqual(await ask(own.postgres.url, 'SELECT n FROM kept'), [{ n: 42 }]);
});

test.serial('the URL is what pg and psql take, whatever the directory is called', async (t) => {
  using directory = temporaryDirectory();
  const odd = join(directory.path, `a b%'"ü`);
  await using own = await startOwn(odd);
  t.is(own.postgres.url, embeddedUrl(odd));
  t.deepEqual(await ask(own.postgres.url, 'SELECT current_user, current_database()'), [
    { current_user: 'carnet', current_database: 'carnet' },
  ]);
  const psql = spawnSync('psql', [own.postgres.url, '-Atc', 'SELECT current_database()'], {
    encoding: 'utf8',
  });
  if (psql.error) t.log('there is no psql here to try it with');
  else t.is(psql.stdout, 'carnet\n');
});

test.serial('a server left behind by kill -9 is replaced, and what was committed is there', async (t) => {
  using directory = await temporaryCluster();
  const killed = await startInProcess(directory.path);
  await ask(killed.url, 'CREATE TABLE kept AS SELECT 42 AS n');
  killed.child.kill('SIGKILL');
  await once(killed.child, 'exit');
  t.true(isRunning(killed.pid));
  t.deepEqual(await ask(killed.url, 'SELECT n FROM kept'), [{ n: 42 }]);
  await using own = await startOwn(directory.path);
  t.false(isRunning(killed.pid));
  t.deepEqual(await ask(own.postgres.url, 'SELECT n FROM kept'), [{ n: 42 }]);
});

test.serial('a start after kill -9 of both the server and PostgreSQL recovers', async (t) => {
  using directory = await temporaryCluster();
  const killed = await startInProcess(directory.path);
  const database = openDatabase(killed.url);
  await database.query('CREATE TABLE kept AS SELECT 42 AS n');
  killed.child.kill('SIGKILL');
  process.kill(killed.pid, 'SIGKILL');
  await once(killed.child, 'exit');
  // Its other processes may live on for a moment, and hold its memory.
  await using own = await startOwn(directory.path);
  t.deepEqual(await ask(own.postgres.url, 'SELECT n FROM kept'), [{ n: 42 }]);
  await database.close();
});

test.serial('a second start on the same data is refused, and names the process', async (t) => {
  using directory = await temporaryCluster();
  const first = await startInProcess(directory.path);
  const error = t.throws(() => openDataDir(directory.path));
  t.is(errorCodeOf(error), 'data_dir_in_use');
  t.true(error?.message.includes(`process ${first.child.pid}`));
  t.true(error?.message.includes(directory.path));
  t.deepEqual(await ask(first.url, 'SELECT 1 AS one'), [{ one: 1 }]);
  first.child.kill('SIGTERM');
  const [code] = await once(first.child, 'exit');
  t.is(code, 0);
  t.false(isRunning(first.pid));
  openDataDir(directory.path).close();
});

test.serial(
  'PostgreSQL killed under us is started again; meanwhile it is database_unavailable',
  async (t) => {
    using directory = await temporaryCluster();
    await using own = await startOwn(directory.path);
    const database = openDatabase(own.postgres.url);
    await database.query('CREATE TABLE kept AS SELECT 42 AS n');
    const before = own.postgres.pid;
    process.kill(before, 'SIGKILL');
    const codes = new Set<string>();
    for (;;) {
      const outcome = await database.query('SELECT n FROM kept').then(
        (rows) => rows,
        (error: unknown) => void codes.add(errorCodeOf(error)),
      );
      // A process of the dead server may still have answered.
      if (outcome && own.postgres.pid !== before) {
        t.deepEqual(outcome, [{ n: 42 }]);
        break;
      }
    }
    t.deepEqual([...codes], ['database_unavailable']);
    await database.close();
  },
);

test.serial('stopping is bounded, also of a PostgreSQL that does not react', async (t) => {
  using directory = await temporaryCluster();
  const own = await startOwn(directory.path);
  process.kill(own.postgres.pid, 'SIGSTOP');
  const begin = performance.now();
  await own[Symbol.asyncDispose]();
  t.true(performance.now() - begin < 60_000);
  t.false(isRunning(own.postgres.pid));
});

test.serial('a cluster whose making was interrupted is made anew', async (t) => {
  using directory = temporaryDirectory();
  mkdirSync(join(directory.path, 'postgres.new'));
  writeFileSync(join(directory.path, 'postgres.new/PG_VERSION'), '18\n');
  await using own = await startOwn(directory.path);
  t.deepEqual(await ask(own.postgres.url, 'SELECT 1 AS one'), [{ one: 1 }]);
  t.false(existsSync(join(directory.path, 'postgres.new')));
});

test.serial(
  'a lock file that names a process which is no PostgreSQL does not hold up the start',
  async (t) => {
    // Closed, so that for root the namespace is taken: there PostgreSQL may signal our processes, and looks.
    using directory = temporaryDirectory(0o700);
    const path = join(directory.path, 'postgres/postmaster.pid');
    let lock = '';
    {
      await using own = await startOwn(directory.path);
      t.true(own.postgres.pid > 0);
      lock = readFileSync(path, 'utf8');
    }
    writeFileSync(path, lock.replace(/^\d+/, String(process.pid)));
    chownSync(path, statSync(join(directory.path, 'postgres')).uid, -1);
    await using own = await startOwn(directory.path);
    t.deepEqual(await ask(own.postgres.url, 'SELECT 1 AS one'), [{ one: 1 }]);
  },
);

test.serial('a path that is too long for a socket is refused before anything is made', async (t) => {
  using directory = temporaryDirectory();
  const long = join(directory.path, 'x'.repeat(100));
  const error = await t.throwsAsync(startOwn(long));
  t.is(errorCodeOf(error), 'config_invalid');
  t.true(error?.message.includes('107'));
  t.false(existsSync(join(long, 'postgres')));
});

test.serial('a data directory that cannot be made is refused', (t) => {
  using directory = temporaryDirectory();
  writeFileSync(join(directory.path, 'file'), '');
  const error = t.throws(() => openDataDir(join(directory.path, 'file/data')));
  t.is(errorCodeOf(error), 'config_invalid');
});

test.serial('a cluster that cannot be started says why, in the words of PostgreSQL', async (t) => {
  using directory = await temporaryCluster();
  {
    await using own = await startOwn(directory.path);
    t.true(own.postgres.pid > 0);
  }
  writeFileSync(join(directory.path, 'postgres/postgresql.auto.conf'), "shared_buffers = 'none'\n");
  const error = await t.throwsAsync(startOwn(directory.path));
  t.is(errorCodeOf(error), 'database_unavailable');
  t.regex(error?.message ?? '', /shared_buffers/);
});

asNobody('runs as a normal user', async (t) => {
  using directory = temporaryDirectory();
  chownSync(directory.path, NOBODY.uid, NOBODY.gid);
  const { child, url, pid } = await startInProcess(directory.path, NOBODY);
  t.deepEqual(await ask(url, 'SELECT 1 AS one'), [{ one: 1 }]);
  t.is(statSync(`/proc/${pid}`).uid, NOBODY.uid);
  child.kill('SIGTERM');
  t.deepEqual(await once(child, 'exit'), [0, null]);
  t.false(isRunning(pid));
});

asRoot('for root, PostgreSQL runs as another user where that one can reach it', async (t) => {
  using directory = await temporaryCluster();
  await using own = await startOwn(directory.path);
  t.not(statSync(`/proc/${own.postgres.pid}`).uid, 0);
  t.not(statSync(join(directory.path, 'postgres')).uid, 0);
});

asRoot(
  'for root, PostgreSQL runs in a user namespace where no other user can reach it, and later too',
  async (t) => {
    using directory = temporaryDirectory(0o700);
    for (const start of ['first', 'later']) {
      await using own = await startOwn(directory.path);
      t.is(statSync(`/proc/${own.postgres.pid}`).uid, 0, start);
      t.is(statSync(join(directory.path, 'postgres')).uid, 0);
      t.notRegex(readFileSync(`/proc/${own.postgres.pid}/uid_map`, 'utf8'), /^\s*0\s+0\s/);
      t.deepEqual(await ask(own.postgres.url, 'SELECT 1 AS one'), [{ one: 1 }]);
    }
  },
);

asRoot('a cluster whose owner cannot reach it any more is refused, with what to do', async (t) => {
  using directory = await temporaryCluster();
  {
    await using own = await startOwn(directory.path);
    t.not(statSync(`/proc/${own.postgres.pid}`).uid, 0);
  }
  spawnSync('chmod', ['0700', directory.path]);
  const error = await t.throwsAsync(startOwn(directory.path));
  t.is(errorCodeOf(error), 'config_invalid');
  t.true(error?.message.includes('--database-url'));
});
