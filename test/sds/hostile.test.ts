import test, { type ExecutionContext } from 'ava';
import {
  garbage,
  headerFloods,
  lateCancels,
  neverReaders,
  rapidResets,
  silentConnections,
  silentStreams,
  tenThousandNames,
} from '../support/attacks.ts';
import { TestClient } from './harness.ts';
import { type Measure, startVictim, type Victim } from './victim.ts';

const MIB = 1 << 20;

test.serial('garbage instead of HTTP/2, of frames, and of messages', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, () => garbage(victim.socket));
});

test.serial('10,000 resource names, a hundred times', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    for (const details of await tenThousandNames(victim.socket))
      t.regex(details, /10000 resource names are too many/);
  });
});

test.serial('1,000 connections that say nothing, and 1,000 that say no more than hello', async (t) => {
  const victim = await startVictim(t, { 'grpc.max_connection_idle_ms': 1500 });
  await figures(t, victim, async (before) => {
    const { closed } = await silentConnections(victim.socket, 1000);
    const during = await victim.measure();
    t.log(`${kib((during.rss - before.rss) / 2000)} KiB for each while they are open`);
    await closed;
  });
});

test.serial('500 streams that say nothing, and are kept open when they are ended', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, () => silentStreams(victim.socket, 50));
});

test.serial('100 readers that never read, while the bundle changes 3,000 times', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    const readers = await neverReaders(victim.socket, 'ROOTCA', 10);
    const before = await victim.measure();
    const after = await victim.measure(3000);
    t.is(before.open, 100);
    t.log(`3,000 updates later the heap is ${kib(after.heapUsed - before.heapUsed)} KiB larger`);
    t.true(after.heapUsed - before.heapUsed < MIB);
    const client = new TestClient(victim.socket, 'web');
    const stream = client.stream();
    stream.send({ resourceNames: ['ROOTCA'] });
    t.true((await stream.next()).versionInfo.startsWith(`${after.sequence}-`));
    stream.call.cancel();
    client.close();
    t.log('a malformed request of each ends it, although it cannot be told so');
    await readers.end();
  });
});

test.serial('floods of headers', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, () => headerFloods(victim.socket));
});

test.serial('10,000 streams, each opened and reset at once', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, () => rapidResets(victim.socket, 10_000));
});

test.serial('2,000 streams, each cancelled when its secret arrives', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, () => lateCancels(victim.socket, 2000));
});

/**
 * Runs an attack while a good client goes on asking for its secrets, which it must get; afterwards no stream
 * may be left open, and the server be no larger.
 */
async function figures(
  t: ExecutionContext,
  victim: Victim,
  attack: (before: Measure) => Promise<void>,
): Promise<void> {
  await victim.serves();
  const before = await victim.measure();
  const over = new AbortController();
  const begin = performance.now();
  const [worst] = await Promise.all([
    worstOf(victim, over.signal),
    attack(before).finally(() => over.abort()),
  ]);
  const took = performance.now() - begin;
  let after = await victim.measure();
  // What a closed connection held is freed in the turns of the event loop that follow.
  for (let i = 0; i < 50 && after.open > 0; i++) after = await victim.measure();
  t.is(after.open, 0);
  t.log(
    `attack ${took.toFixed(0)} ms; a good client connects and is served within ${worst.toFixed(0)} ms all the ` +
      `while; then the heap is ${kib(after.heapUsed - before.heapUsed)} KiB larger, the process ` +
      `${kib(after.rss - before.rss)} KiB`,
  );
  t.true(worst < 30_000);
  t.true(after.heapUsed - before.heapUsed < 16 * MIB);
  // Much of it is what the allocator keeps of the connections that came and went.
  t.true(after.rss - before.rss < 256 * MIB);
}

/** The longest that a good client waits, of many times one after the other. */
async function worstOf(victim: Victim, over: AbortSignal): Promise<number> {
  let worst = 0;
  while (!over.aborted) worst = Math.max(worst, await victim.serves());
  return Math.max(worst, await victim.serves());
}

function kib(bytes: number): string {
  return (bytes / 1024).toFixed(0);
}
