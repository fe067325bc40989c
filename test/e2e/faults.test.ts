import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import pg from 'pg';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { isRetryable } from '../../src/errors.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { type ApplyOptions, applyPlan } from '../../src/rotation/apply.ts';
import { KEYS } from '../ca/authorities.ts';
import { openDatabase } from '../db/fixtures.ts';
import { type CarnetProcess, directoryOf, startCarnet } from '../support/carnet.ts';
import { createDatabase } from '../support/database.ts';
import { type Fault, type PostgresProxy, startPostgresProxy } from '../support/postgres-proxy.ts';
import { until } from '../support/until.ts';
import { Watcher } from '../support/watcher.ts';

/** The messages by which an issuance is recorded, in the order in which they pass. */
const MESSAGES = [
  ['client', 'Q', 'COPY'],
  ['client', 'd', 'CopyData'],
  ['client', 'c', 'CopyDone'],
  ['server', 'G', 'CopyInResponse'],
  ['server', 'C', 'CommandComplete'],
  ['server', 'Z', 'ReadyForQuery'],
] as const;
const MOMENTS = MESSAGES.flatMap(([from, type, name]) =>
  (['before', 'after'] as const).map((when) => ({ from, type, when, name: `${when} ${name}` })),
);
type Moment = (typeof MOMENTS)[number];

const NAME = 'spiffe://carnet.local/faulty';

test.serial(
  'a connection cut before and after each message of a record: nothing released is unrecorded',
  async (t) => {
    t.timeout(400_000);
    await using world = await createWorld();
    for (const moment of MOMENTS) {
      await world.strike(moment, () => undefined);
      await world.recovers(t, moment);
    }
    t.is(world.watcher.streams, 1);
  },
);

test.serial(
  'the server killed (-9) between any two messages of a record: nothing released is unrecorded',
  async (t) => {
    t.timeout(400_000);
    await using world = await createWorld();
    // After one message is before the next.
    for (const moment of MOMENTS.filter(({ when }, i) => i === 0 || when === 'after')) {
      const { pid } = world.carnet;
      await world.strike(moment, () => process.kill(pid, 'SIGKILL'));
      await world.carnet.kill();
      await world.carnet.restart();
      await world.recovers(t, moment);
    }
  },
);

test.serial(
  'a connection cut around each statement that makes the first CAs: none is in use or trusted unrecorded',
  async (t) => {
    t.timeout(400_000);
    let store = await createAuthorityStore();
    let faults = 0;
    while (await store.applyWithFault(faults)) {
      faults++;
      t.deepEqual(await store.unrecorded(), [], `fault ${faults}`);
      // What was undone by the fault leaves nothing behind: the next fault may have the same database.
      if ((await store.states()).length === 0) continue;
      await store.apply();
      t.deepEqual(await store.states(), ['issuing active', 'jwt active', 'root active']);
      t.deepEqual(await store.unrecorded(), []);
      await store[Symbol.asyncDispose]();
      store = await createAuthorityStore();
    }
    t.log(`${faults} faults`);
    t.true(faults > 30);
    t.deepEqual(await store.states(), ['issuing active', 'jwt active', 'root active']);
    await store[Symbol.asyncDispose]();
  },
);

interface World extends AsyncDisposable {
  readonly carnet: CarnetProcess;
  readonly watcher: Watcher;
  /** Has a certificate issued, and `act` happen at that moment of its record; then the connection is cut. */
  strike(moment: Moment, act: () => void): Promise<void>;
  /** A further certificate arrives, and all that ever arrived are on record. */
  recovers(t: ExecutionContext, moment: Moment): Promise<void>;
  /** The serials on record for the identity that the client asks for. */
  recorded(): Promise<string[]>;
}

/** A server whose database connections pass through a proxy, and a client that remembers what it is given. */
async function createWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const database = await createDatabase('empty');
  stack.defer(() => database.drop());
  const proxy = stack.use(
    await startPostgresProxy(database.url, join(await directoryOf(undefined), 'proxy')),
  );
  const direct = new pg.Client(database.url);
  await direct.connect();
  stack.defer(() => direct.end());
  const carnet = stack.use(await startCarnet(['--database-url', proxy.url, '--log-level', 'fatal']));
  const watcher = stack.use(new Watcher(carnet.agentSocket, [NAME]));
  let version = 0;
  const reissue = () =>
    carnet.call('POST', '/v1/entries:apply', {
      entries: [
        {
          id: 'faulty',
          spiffe_id: NAME,
          selectors: [`unix:uid:${process.getuid?.()}`],
          dns_names: [`version-${++version}.test`],
        },
      ],
    });
  const recorded = async (): Promise<string[]> => {
    const statement = 'SELECT serial FROM issuance WHERE identity = $1';
    const { rows } = await direct.query<{ serial: Buffer }>(statement, [NAME]);
    return rows.map(({ serial }) => serial.toString('hex'));
  };
  await reissue();
  let held = await watcher.other(NAME);
  const owned = stack.move();
  return {
    carnet,
    watcher,
    recorded,
    strike: async (moment, act) => {
      const struck = nextRecord(proxy, moment, act);
      // The server may be killed before it answers.
      await reissue().catch(() => undefined);
      await until(`it is ${moment.name}`, struck);
    },
    recovers: async (t, moment) => {
      held = await watcher.other(NAME, held);
      const known = new Set(await recorded());
      t.deepEqual(
        [...watcher.seen].filter((serial) => !known.has(serial)),
        [],
        moment.name,
      );
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Strikes at that message of the next record, once. The function that it returns tells whether that has been. */
function nextRecord(proxy: PostgresProxy, moment: Moment, act: () => void): () => boolean {
  let connection: number | null = null;
  let struck = false;
  const fault: Fault = {
    when: moment.when,
    strike: () => {
      struck = true;
      act();
    },
  };
  proxy.intercept = (message) => {
    if (message.statement.startsWith('COPY issuance')) connection ??= message.connection;
    if (message.connection !== connection || message.from !== moment.from || message.type !== moment.type)
      return null;
    proxy.intercept = () => null;
    return fault;
  };
  return () => struck;
}

interface AuthorityStoreUnderTest extends AsyncDisposable {
  /** Carries out the plan of a first start. */
  apply(): Promise<unknown>;
  /**
   * The same with a fault at the `index`-th moment: before a statement, or before its answer. Resolves to false,
   * and has done it all, when there are fewer moments.
   */
  applyWithFault(index: number): Promise<boolean>;
  /** Kind and state of each authority that is there. */
  states(): Promise<string[]>;
  /** Certificates of authorities that are there, or trusted in any bundle, without a record. */
  unrecorded(): Promise<object[]>;
}

async function createAuthorityStore(): Promise<AuthorityStoreUnderTest> {
  const created = await createDatabase();
  const proxy = await startPostgresProxy(created.url, await directoryOf(undefined));
  const [database, direct] = [openDatabase(proxy.url, { maxConnections: 1 }), openDatabase(created.url)];
  const options = applyOptions(new PostgresAuthorityStore(database));
  const apply = (): Promise<unknown> => applyPlan(options, 'test');
  return {
    apply,
    applyWithFault: async (index) => {
      let moments = 0;
      let struck = false;
      proxy.intercept = ({ statement, from, type }) => {
        const isMoment = statement !== '' || (from === 'server' && type === 'Z');
        if (!isMoment || moments++ !== index) return null;
        struck = true;
        return { when: 'before', strike: () => undefined };
      };
      await apply().catch((error: unknown) => {
        if (!struck || !isRetryable(error)) throw error;
      });
      proxy.intercept = () => null;
      return struck;
    },
    states: async () => {
      const rows = await direct.query<{ kind: string; state: string }>('SELECT kind, state FROM authority');
      return rows.map(({ kind, state }) => `${kind} ${state}`).toSorted();
    },
    unrecorded: () =>
      direct.query(
        `SELECT certificate FROM (SELECT certificate FROM authority
           UNION SELECT unnest(x509_authorities) FROM trust_bundle) AS used
         WHERE certificate IS NOT NULL
           AND NOT EXISTS (SELECT FROM issuance WHERE issuance.certificate = used.certificate)`,
      ),
    [Symbol.asyncDispose]: async () => {
      await database.close();
      await direct.close();
      await proxy[Symbol.asyncDispose]();
      await created.drop();
    },
  };
}

function applyOptions(store: PostgresAuthorityStore): ApplyOptions {
  return {
    store,
    keys: KEYS,
    trustDomain: parseTrustDomain('carnet.test'),
    schedule: {
      rootTtlMs: 1e9,
      issuingTtlMs: 1e8,
      rootShare: null,
      issuingShare: null,
      holdSeconds: 60,
      jwtKeyTtlMs: 1e8,
      jwtShare: null,
      jwtHoldSeconds: 60,
    },
    rootKeyType: 'ec-p256',
    issuingKeyType: 'ec-p256',
    jwtKeyType: 'ec-p256',
    backdateSeconds: 30,
    clock: Date.now,
  };
}
