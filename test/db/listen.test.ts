import test from 'ava';
import { Listener, notify, TOPICS, type Topic } from '../../src/db/listen.ts';
import { administer, createDatabase } from '../support/database.ts';
import { log, openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

/** What a listener was woken for, and a wait for a number of wakes. */
class Wakes {
  readonly topics: Topic[] = [];
  #more = Promise.withResolvers<void>();

  readonly wake = (topic: Topic): void => {
    this.topics.push(topic);
    this.#more.resolve();
    this.#more = Promise.withResolvers();
  };

  async take(count: number): Promise<Topic[]> {
    while (this.topics.length < count) await this.#more.promise;
    return this.topics.splice(0, count);
  }
}

const listen = (wakes: Wakes, catchUpMs?: number): Listener =>
  new Listener({
    url: created.url,
    log,
    wake: wakes.wake,
    random: () => 0,
    ...(catchUpMs !== undefined && { catchUpMs }),
  });

const NUMBER_OF_TOPICS = TOPICS.length;
const listenerPids = async (): Promise<number[]> =>
  (
    await database.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'carnet listen' AND datname = current_database()",
    )
  ).map(({ pid }) => pid);

test.serial('wakes for everything at first, and then for what is notified', async (t) => {
  const wakes = new Wakes();
  const listener = listen(wakes);
  t.deepEqual(await wakes.take(NUMBER_OF_TOPICS), [...TOPICS]);
  for (const topic of TOPICS) await notify(database, topic);
  await database.query("SELECT pg_notify('carnet', 'something else'), pg_notify('others', 'bundle')");
  await notify(database, 'entries');
  t.deepEqual(await wakes.take(NUMBER_OF_TOPICS + 1), [...TOPICS, 'entries']);
  await listener.close();
});

test.serial('a notice that was sent while the connection was lost is caught up with', async (t) => {
  const wakes = new Wakes();
  const listener = listen(wakes);
  await wakes.take(NUMBER_OF_TOPICS);
  await database.query('SELECT pg_terminate_backend($1)', await listenerPids());
  await notify(database, 'bundle');
  t.deepEqual(await wakes.take(NUMBER_OF_TOPICS), [...TOPICS]);
  await notify(database, 'bundle');
  t.deepEqual(await wakes.take(1), ['bundle']);
  await listener.close();
});

test.serial('wakes for everything now and then, on the same connection', async (t) => {
  const wakes = new Wakes();
  const listener = listen(wakes, 20);
  await wakes.take(NUMBER_OF_TOPICS);
  const pids = await listenerPids();
  t.deepEqual(await wakes.take(2 * NUMBER_OF_TOPICS), [...TOPICS, ...TOPICS]);
  t.deepEqual(await listenerPids(), pids);
  await listener.close();
});

test.serial('a connection that hears nothing any more is noticed and replaced', async (t) => {
  const wakes = new Wakes();
  const listener = listen(wakes, 20);
  await wakes.take(NUMBER_OF_TOPICS);
  const [pid = 0] = await listenerPids();
  process.kill(pid, 'SIGSTOP');
  while ((await listenerPids()).every((other) => other === pid)) await wakes.take(1);
  t.pass();
  process.kill(pid, 'SIGCONT');
  await listener.close();
});

test.serial('closes at once, connected or not', async (t) => {
  const wakes = new Wakes();
  const connected = listen(wakes);
  await wakes.take(NUMBER_OF_TOPICS);
  const none = new Listener({
    url: 'postgresql://carnet@localhost/carnet?host=/nonexistent',
    log,
    wake: wakes.wake,
    random: () => 0,
  });
  const begin = performance.now();
  await Promise.all([connected.close(), none.close()]);
  t.true(performance.now() - begin < 10_000);
  t.deepEqual(wakes.topics, []);
});

test.serial('comes back after a while without a database', async (t) => {
  const other = await createDatabase();
  const name = new URL(other.url).pathname.slice(1);
  const wakes = new Wakes();
  await administer(`ALTER DATABASE ${name} RENAME TO ${name}_away`);
  const refused = Promise.withResolvers<void>();
  const noting = Object.assign(Object.create(log), { warn: () => refused.resolve() });
  const listener = new Listener({ url: other.url, log: noting, wake: wakes.wake, random: () => 0 });
  await refused.promise;
  await administer(`ALTER DATABASE ${name}_away RENAME TO ${name}`);
  t.deepEqual(await wakes.take(NUMBER_OF_TOPICS), [...TOPICS]);
  await listener.close();
  await other.drop();
});
