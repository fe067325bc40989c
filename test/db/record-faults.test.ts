import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { BatchRecorder, RECORDER_LIMITS } from '../../src/audit/record.ts';
import type { Database } from '../../src/db/database.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { migrate } from '../../src/db/migrate.ts';
import { type ErrorCode, errorCodeOf } from '../../src/errors.ts';
import { createDatabase } from '../support/database.ts';
import { startPostgresProxy } from '../support/postgres-proxy.ts';
import { issuance, log, openDatabase } from './fixtures.ts';
import { startOwn, temporaryCluster, temporaryDirectory } from './own-cluster.ts';

/** What a server says once it has committed (PostgreSQL, "Message Formats"). */
const COMMAND_COMPLETE = 'C';

/** What became of each issuance that the recorder was given. */
class Outcomes {
  readonly recorded: string[] = [];
  readonly failed = new Map<string, ErrorCode>();
  readonly #recorder: BatchRecorder;

  constructor(database: Database) {
    this.#recorder = new BatchRecorder(
      (batch) => insertIssuances(database, batch),
      RECORDER_LIMITS,
      () => performance.now(),
    );
  }

  async record(): Promise<string> {
    const given = issuance();
    await this.#recorder.record(given).then(
      () => this.recorded.push(given.serial),
      (error: unknown) => this.failed.set(given.serial, errorCodeOf(error)),
    );
    return given.serial;
  }

  codes(): ErrorCode[] {
    return [...new Set(this.failed.values())].toSorted();
  }
}

async function serials(database: Database): Promise<Set<string>> {
  const rows = await database.query<{ serial: Buffer }>('SELECT serial FROM issuance');
  return new Set(rows.map(({ serial }) => serial.toString('hex')));
}

/** Issuances without end, `clients` at a time, until `fault` is over and 50 more were recorded after it. */
async function underLoad(outcomes: Outcomes, fault: () => Promise<void>): Promise<void> {
  const state = { faultIsOver: false };
  const enough = { count: Number.POSITIVE_INFINITY };
  const client = async (): Promise<void> => {
    while (outcomes.recorded.length < enough.count) {
      await outcomes.record();
      if (state.faultIsOver && enough.count === Number.POSITIVE_INFINITY)
        enough.count = outcomes.recorded.length + 50;
    }
  };
  const clients = Array.from({ length: 32 }, client);
  while (outcomes.recorded.length < 100) await outcomes.record();
  await fault();
  state.faultIsOver = true;
  await Promise.all(clients);
}

async function assertNothingIsMissing(
  t: ExecutionContext,
  outcomes: Outcomes,
  database: Database,
): Promise<void> {
  const found = await serials(database);
  t.deepEqual(
    outcomes.recorded.filter((serial) => !found.has(serial)),
    [],
  );
  t.true(outcomes.recorded.length >= 150);
}

test.serial('a session that dies before its commit records nothing, and says so', async (t) => {
  const { url, drop } = await createDatabase();
  const [database, admin] = [openDatabase(url), openDatabase(url)];
  // At the commit itself, after all rows are in.
  await admin.query(`CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN NULL; END $$`);
  await admin.query(
    `CREATE CONSTRAINT TRIGGER die AFTER INSERT ON issuance
     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()`,
  );
  const outcomes = new Outcomes(database);
  await Promise.all([outcomes.record(), outcomes.record(), outcomes.record()]);
  t.deepEqual([outcomes.recorded, outcomes.failed.size, outcomes.codes()], [[], 3, ['database_unavailable']]);
  t.is((await serials(admin)).size, 0);
  await admin.query('DROP TRIGGER die ON issuance');
  const next = await outcomes.record();
  t.deepEqual(outcomes.recorded, [next]);
  await database.close();
  await admin.close();
  await drop();
});

test.serial(
  'a session that dies after its commit, before the answer, has recorded, and still counts as failed',
  async (t) => {
    const created = await createDatabase();
    using directory = temporaryDirectory();
    await using proxy = await startPostgresProxy(created.url, join(directory.path, 'proxy'));
    const [database, admin] = [openDatabase(proxy.url, { maxConnections: 1 }), openDatabase(created.url)];
    const outcomes = new Outcomes(database);
    const before = await outcomes.record();
    proxy.intercept = ({ from, type }) => {
      if (from !== 'server' || type !== COMMAND_COMPLETE) return null;
      proxy.intercept = () => null;
      return { when: 'before', strike: () => undefined };
    };
    const lost = await outcomes.record();
    t.deepEqual(
      [outcomes.recorded, outcomes.failed],
      [[before], new Map([[lost, 'database_unavailable' as const]])],
    );
    t.deepEqual(await serials(admin), new Set([before, lost]));
    const after = await outcomes.record();
    t.deepEqual(outcomes.recorded, [before, after]);
    await database.close();
    await admin.close();
    await created.drop();
  },
);

test.serial('sessions that are ended again and again lose nothing that was acknowledged', async (t) => {
  const { url, drop } = await createDatabase();
  const [database, admin] = [openDatabase(url), openDatabase(url)];
  const outcomes = new Outcomes(database);
  await underLoad(outcomes, async () => {
    for (let times = 0; times < 30; times++) {
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'COPY%'`,
      );
      await outcomes.record();
    }
  });
  await assertNothingIsMissing(t, outcomes, admin);
  t.deepEqual(outcomes.codes(), ['database_unavailable']);
  await database.close();
  await admin.close();
  await drop();
});

test.serial(
  'PostgreSQL killed with -9 under load loses nothing that was acknowledged, and recording goes on',
  async (t) => {
    using directory = await temporaryCluster();
    await using own = await startOwn(directory.path);
    await migrate({ url: own.postgres.url, ownerUrl: null, log });
    const database = openDatabase(own.postgres.url);
    const outcomes = new Outcomes(database);
    await underLoad(outcomes, async () => {
      for (let times = 0; times < 3; times++) {
        const killed = own.postgres.pid;
        process.kill(killed, 'SIGKILL');
        const recorded = outcomes.recorded.length;
        while (own.postgres.pid === killed || outcomes.recorded.length < recorded + 50)
          await outcomes.record();
      }
    });
    await assertNothingIsMissing(t, outcomes, database);
    t.deepEqual(outcomes.codes(), ['database_unavailable']);
    await database.close();
  },
);

test.serial('a table that is locked makes recording fail with timeout, and go on afterwards', async (t) => {
  const { url, drop } = await createDatabase();
  const [database, admin] = [openDatabase(url, { statementTimeoutMs: 100 }), openDatabase(url)];
  const outcomes = new Outcomes(database);
  await underLoad(outcomes, () =>
    admin.transact(async (tx) => {
      await tx.query('LOCK TABLE issuance IN EXCLUSIVE MODE');
      const { size } = outcomes.failed;
      while (outcomes.failed.size < size + 32) await outcomes.record();
    }),
  );
  await assertNothingIsMissing(t, outcomes, admin);
  t.deepEqual(outcomes.codes(), ['timeout']);
  await database.close();
  await admin.close();
  await drop();
});

test.serial(
  'a session that is stopped makes recording fail with timeout, and go on with another',
  async (t) => {
    const { url, drop } = await createDatabase();
    const [database, admin] = [
      openDatabase(url, { statementTimeoutMs: 200, maxConnections: 1 }),
      openDatabase(url),
    ];
    const outcomes = new Outcomes(database);
    let stopped = 0;
    await underLoad(outcomes, async () => {
      const [session] = await database.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      stopped = session?.pid ?? 0;
      process.kill(stopped, 'SIGSTOP');
      while (outcomes.failed.size === 0) await outcomes.record();
    });
    // What it had in hand may be committed once it goes on: that was not acknowledged.
    process.kill(stopped, 'SIGCONT');
    await assertNothingIsMissing(t, outcomes, admin);
    t.deepEqual(outcomes.codes(), ['timeout']);
    await database.close();
    await admin.close();
    await drop();
  },
);
