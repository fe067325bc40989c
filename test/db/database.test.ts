import test from 'ava';
import pg from 'pg';
import { toCarnetError } from '../../src/db/database-error.ts';
import { type ErrorCode, errorCodeOf } from '../../src/errors.ts';
import { createDatabase, urlOf } from '../support/database.ts';
import { openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const admin = openDatabase(created.url);
test.after.always(async () => {
  await database.close();
  await admin.close();
  await created.drop();
});

const codeOf = async (promise: Promise<unknown>): Promise<ErrorCode | 'none'> =>
  promise.then(() => 'none' as const, errorCodeOf);

for (const [sqlState, code] of [
  ['08006', 'database_unavailable'],
  ['25006', 'database_unavailable'],
  ['28P01', 'database_unavailable'],
  ['40001', 'database_unavailable'],
  ['40P01', 'database_unavailable'],
  ['53100', 'database_unavailable'],
  ['53300', 'database_unavailable'],
  ['57P01', 'database_unavailable'],
  ['57P03', 'database_unavailable'],
  ['58030', 'database_unavailable'],
  ['57014', 'timeout'],
  ['55P03', 'timeout'],
  ['25P03', 'timeout'],
  ['22021', 'invalid_argument'],
  ['23514', 'invalid_argument'],
  ['23505', 'already_exists'],
  ['42P01', 'internal'],
] as const)
  test(`SQLSTATE ${sqlState} is ${code}`, (t) => {
    const error = new pg.DatabaseError('as the test says', 0, 'error');
    error.code = sqlState;
    t.is(errorCodeOf(toCarnetError(error)), code);
  });

test('rows come back typed, and a transaction commits all of its statements or none', async (t) => {
  await database.query('CREATE TABLE number (n integer PRIMARY KEY)');
  await database.transact(async (tx) => {
    await tx.query('INSERT INTO number VALUES ($1)', [1]);
    await tx.query('INSERT INTO number VALUES ($1)', [2]);
  });
  await t.throwsAsync(
    database.transact(async (tx) => {
      await tx.query('INSERT INTO number VALUES (3)');
      throw new Error('as the test says');
    }),
    { message: 'as the test says' },
  );
  const failing = database.transact(async (tx) => {
    await tx.query('INSERT INTO number VALUES (4)');
    await tx.query('INSERT INTO number VALUES (1)');
  });
  t.is(await codeOf(failing), 'already_exists');
  t.deepEqual(await database.query('SELECT n FROM number ORDER BY n'), [{ n: 1 }, { n: 2 }]);
});

test('a transaction that goes on after a failed statement is no success', async (t) => {
  const swallowing = database.transact(async (tx) => {
    await tx.query('SELECT 1 / 0').catch(() => undefined);
  });
  t.is(await codeOf(swallowing), 'internal');
});

test('commits wait for the disk, whatever the role says', async (t) => {
  await admin.query(`ALTER DATABASE ${new URL(created.url).pathname.slice(1)} SET synchronous_commit = off`);
  const fresh = openDatabase(created.url);
  t.deepEqual(await fresh.query('SHOW synchronous_commit'), [{ synchronous_commit: 'on' }]);
  await fresh.transact(async (tx) => {
    t.deepEqual(await tx.query('SHOW synchronous_commit'), [{ synchronous_commit: 'on' }]);
  });
  await fresh.close();
});

test('a statement that takes too long is timeout, and the connection goes on', async (t) => {
  const hasty = openDatabase(created.url, { maxConnections: 1, statementTimeoutMs: 500 });
  const pid = (): Promise<object[]> => hasty.query('SELECT pg_backend_pid()');
  const before = await pid();
  t.is(await codeOf(hasty.query('SELECT pg_sleep(60)')), 'timeout');
  t.deepEqual(await pid(), before);
  await hasty.close();
});

test('a session that the server ends is database_unavailable, and the next statement has another', async (t) => {
  const own = openDatabase(created.url, { maxConnections: 1 });
  t.is(await codeOf(own.query('SELECT pg_terminate_backend(pg_backend_pid())')), 'database_unavailable');
  t.deepEqual(await own.query('SELECT 1 AS one'), [{ one: 1 }]);
  const inTransaction = own.transact(async (tx) => {
    await tx.query('SELECT 1');
    const [row] = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await admin.query('SELECT pg_terminate_backend($1)', [row?.pid]);
    await tx.query('SELECT 1');
  });
  t.is(await codeOf(inTransaction), 'database_unavailable');
  t.deepEqual(await own.query('SELECT 1 AS one'), [{ one: 1 }]);
  await own.close();
});

test('an idle session that the server ends is replaced without an error', async (t) => {
  const own = openDatabase(created.url, { maxConnections: 1 });
  const [row] = await own.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  await admin.query('SELECT pg_terminate_backend($1, 5000)', [row?.pid]);
  // The loss is an event of the socket, which may come before or with the next statement.
  await codeOf(own.query('SELECT 1'));
  t.deepEqual(await own.query('SELECT 1 AS one'), [{ one: 1 }]);
  await own.close();
});

test('a server that does not answer at all is timeout, and closing does not wait for it', async (t) => {
  const own = openDatabase(created.url, { maxConnections: 2, statementTimeoutMs: 1000 });
  const pids = await Promise.all(
    [1, 2].map(() => own.query<{ pid: number }>('SELECT pg_backend_pid() AS pid, pg_sleep(0.05)')),
  );
  const stopped = pids.flatMap((rows) => rows.map(({ pid }) => pid));
  for (const pid of stopped) process.kill(pid, 'SIGSTOP');
  t.is(await codeOf(own.query('SELECT 1')), 'timeout');
  const begin = performance.now();
  await own.close();
  t.true(performance.now() - begin < 30_000);
  for (const pid of stopped) process.kill(pid, 'SIGCONT');
});

test('who finds all connections in use for too long is overloaded', async (t) => {
  const own = openDatabase(created.url, { maxConnections: 1 });
  const held = Promise.withResolvers<void>();
  const holding = own.transact(async (tx) => {
    await tx.query('SELECT 1');
    await held.promise;
  });
  t.is(await codeOf(own.query('SELECT 1')), 'overloaded');
  held.resolve();
  await holding;
  await own.close();
});

test('more callers than may wait are overloaded at once', async (t) => {
  const own = openDatabase(created.url, { maxConnections: 1 });
  const held = Promise.withResolvers<void>();
  const holding = own.transact(() => held.promise);
  const waiting = Array.from({ length: 1100 }, () => codeOf(own.query('SELECT 1')));
  const refused = await Promise.race(waiting);
  t.is(refused, 'overloaded');
  held.resolve();
  await holding;
  const counts = Object.groupBy(await Promise.all(waiting), (code) => code);
  t.true((counts.overloaded?.length ?? 0) >= 99);
  t.true((counts.none?.length ?? 0) >= 999);
  await own.close();
});

for (const [what, url] of [
  ['no such database', urlOf('there_is_none')],
  ['no such role', urlOf('postgres', 'nobody_there')],
  ['no socket', 'postgresql://carnet@localhost/carnet?host=/nonexistent'],
  ['a port that refuses', 'postgresql://carnet@127.0.0.1:1/carnet'],
  ['no such host', 'postgresql://carnet@carnet.invalid/carnet'],
] as const)
  test(`${what} is database_unavailable`, async (t) => {
    const none = openDatabase(url);
    t.is(await codeOf(none.query('SELECT 1')), 'database_unavailable');
    await none.close();
  });
