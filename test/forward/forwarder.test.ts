import test, { type ExecutionContext } from 'ava';
import { PostgresForwardStore } from '../../src/db/forward-sinks.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { Forwarder, type ForwardFailure } from '../../src/forward/forwarder.ts';
import type { Sink } from '../../src/forward/sink.ts';
import { createSyslog } from '../../src/forward/syslog.ts';
import { createWebhook } from '../../src/forward/webhook.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { SyslogReceiver, Trust, WebhookReceiver } from './receivers.ts';

const trust = new Trust();
test.after.always(() => trust.remove());

/** A database with a log of so many issuances, and what forwards it. */
async function world(t: ExecutionContext, entries: number) {
  const created = await createDatabase();
  const database = openDatabase(created.url);
  t.teardown(async () => {
    await database.close();
    await created.drop();
  });
  let size = 0;
  const record = async (count: number): Promise<void> => {
    await insertIssuances(
      database,
      Array.from({ length: count }, () => issuance()),
    );
    size += count;
    await sequenceAll(database, size);
  };
  if (entries > 0) await record(entries);
  const store = new PostgresForwardStore(database);
  const failures: ForwardFailure[] = [];
  const forward = (sink: Sink): Forwarder => {
    const onFailed = (failure: ForwardFailure): void => void failures.push(failure);
    return new Forwarder({
      sink,
      store,
      onFailed,
      onAcknowledged: () => undefined,
      random: () => 0,
      pollMs: 20,
    });
  };
  const position = async (): Promise<number> => (await store.list())[0]?.position ?? -1;
  return { database, store, record, forward, failures, position };
}

async function webhook(t: ExecutionContext) {
  const receiver = await WebhookReceiver.listen(trust);
  t.teardown(() => receiver.close());
  const { tls, secretFile } = trust;
  const to = (timeoutMs = 20_000): Sink =>
    createWebhook({
      url: receiver.url,
      tls,
      secretFile,
      log: 'carnet.local/log',
      clock: Date.now,
      timeoutMs,
    });
  return { receiver, to };
}

const upTo = (end: number): number[] => Array.from({ length: end }, (_, i) => i);

test('a sink gets all of the log from its start, in order, and then what comes', async (t) => {
  const { store, record, forward, failures, position } = await world(t, 2500);
  const { receiver, to } = await webhook(t);
  await store.create(to(), 'start');
  await using _forwarder = forward(to());
  await until('all has come', async () => (await position()) === 2500);
  await record(10);
  await until('what is new has come', async () => (await position()) === 2510);
  t.deepEqual(receiver.arrivals.leaves, upTo(2510));
  t.deepEqual([receiver.faults, failures], [[], []]);
});

test('a new sink may begin with what comes next', async (t) => {
  const { store, record, forward } = await world(t, 100);
  const { receiver, to } = await webhook(t);
  await store.create(to(), 'now');
  await store.create(to(), 'start');
  await using _forwarder = forward(to());
  await record(3);
  await until('the new ones have come', () => receiver.arrivals.lines.length >= 3);
  t.deepEqual(receiver.arrivals.leaves, [100, 101, 102]);
});

test('whatever fails on the way, all comes in order; what fails often is tried in smaller parts', async (t) => {
  const { store, forward, failures, position } = await world(t, 3000);
  const { receiver, to } = await webhook(t);
  await store.create(to(), 'start');
  let answers = 0;
  receiver.answer = (lines, response) => {
    answers++;
    if (answers % 3 === 0) response.writeHead(500).end();
    // It has it, but we never hear of that.
    else if (answers % 5 === 0) {
      receiver.arrivals.lines.push(...lines);
      response.destroy();
    } else receiver.take(lines, response);
  };
  await using _forwarder = forward(to());
  await until('all has come', async () => (await position()) === 3000);
  t.deepEqual(receiver.arrivals.firstArrivals, upTo(3000));
  t.true(receiver.arrivals.lines.length > 3000, 'some came twice');
  t.true(failures.length > 2);
});

test('an entry that is refused is found, nothing goes past it, and an operator may have it passed over', async (t) => {
  const { database, store, forward, failures, position } = await world(t, 500);
  const { receiver, to } = await webhook(t);
  await store.create(to(), 'start');
  const refused = 337;
  receiver.answer = (lines, response) => {
    if (lines.some((line) => JSON.parse(line).leaf_index === refused)) response.writeHead(400).end();
    else receiver.take(lines, response);
  };
  await using _forwarder = forward(to());
  await until('it is alone', () => failures.some((failure) => failure.refused === refused));
  await until(
    'it was tried again',
    () => failures.filter((failure) => failure.refused === refused).length > 1,
  );
  t.is(await position(), refused);
  t.deepEqual(receiver.arrivals.leaves, upTo(refused));
  t.like((await store.list())[0], { problem: 'it answers 400', lagEntries: 500 - refused });

  await t.throwsAsync(store.move('webhook', 501, 'why', 'operator:a'), { code: 'invalid_argument' });
  await t.throwsAsync(store.move('other', 1, 'why', 'operator:a'), { code: 'not_found' });
  t.like(await store.move('webhook', refused + 1, 'too long', 'operator:a'), {
    position: refused + 1,
    problem: null,
  });
  await until('the rest has come', async () => (await position()) === 500);
  t.deepEqual(
    receiver.arrivals.leaves,
    upTo(500).filter((leaf) => leaf !== refused),
  );
  const [event] = await database.query(
    'SELECT actor, action, subject, before, after, reason FROM operator_event',
  );
  t.deepEqual(event, {
    actor: 'operator:a',
    action: 'sink.move',
    subject: 'webhook',
    before: { position: refused },
    after: { position: refused + 1 },
    reason: 'too long',
  });
});

test('two that forward at once do no harm, nor does one that is stopped in the middle', async (t) => {
  const { store, record, forward, position } = await world(t, 1500);
  const { receiver, to } = await webhook(t);
  await store.create(to(), 'start');
  const first = forward(to());
  await using _second = forward(to());
  await until('some has come', () => receiver.arrivals.lines.length > 0);
  await first[Symbol.asyncDispose]();
  await record(1500);
  await until('all has come', async () => (await position()) === 3000);
  t.deepEqual(receiver.arrivals.firstArrivals, upTo(3000));
});

test('while a sink hangs, its position waits, no transaction is open, and recording goes on', async (t) => {
  const { database, store, record, forward, failures, position } = await world(t, 10);
  const { receiver, to } = await webhook(t);
  await store.create(to(), 'start');
  receiver.answer = () => undefined;
  await using _forwarder = forward(to(400));
  await until('it hangs', () => receiver.batches.length > 0);
  await record(1000);
  const open = await database.query(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
       AND xact_start IS NOT NULL AND pid <> pg_backend_pid()`,
  );
  t.is(open.length, 0);
  await until('it was given up', () =>
    failures.some(({ error }) => (error as { code?: string }).code === 'timeout'),
  );
  t.is(await position(), 0);
  receiver.answer = (lines, response) => receiver.take(lines, response);
  await until('all has come', async () => (await position()) === 1010);
  t.deepEqual(receiver.arrivals.firstArrivals, upTo(1010));
  t.like((await store.list())[0], {
    lagEntries: 0,
    lagSeconds: 0,
    failures: 0,
    problem: null,
    failingSince: null,
  });
});

test('a syslog receiver that goes away gets what it took last once more', async (t) => {
  const { store, record, forward, failures, position } = await world(t, 20);
  const to = await SyslogReceiver.listen(trust);
  const { port } = to;
  const origin = { host: 'node-1', pid: 1, log: 'carnet.local/log' };
  const sink = createSyslog({ host: '127.0.0.1', port, tls: trust.tls, origin });
  await store.create(sink, 'start');
  await using _forwarder = forward(sink);
  await until('all has come', async () => (await position()) === 20);
  await to.close();
  await record(5);
  await until('it is missed', () => failures.length > 1);
  const again = await SyslogReceiver.listen(trust, port);
  t.teardown(() => again.close());
  await until('the rest has come', async () => (await position()) === 25);
  t.deepEqual([to.arrivals.leaves, again.arrivals.leaves], [upTo(20), upTo(25)]);
  t.deepEqual([to.faults, again.faults], [[], []]);
});

test('an entry that the log lacks is not gone past', async (t) => {
  const { database, store, forward, failures } = await world(t, 10);
  const { receiver, to } = await webhook(t);
  await store.create(to(), 'start');
  await database.query(
    'SET session_replication_role = replica; ALTER TABLE log_entry DISABLE TRIGGER append_only; DELETE FROM log_entry WHERE leaf_index = 4',
  );
  await using _forwarder = forward(to());
  await until('it is missed', () => failures.length > 0);
  t.like(failures[0]?.error, { code: 'internal', message: 'the log lacks entry 4: run carnet audit verify' });
  t.deepEqual(receiver.arrivals.lines, []);
});
