import test, { type ExecutionContext } from 'ava';
import type { Holder, X509Svid } from '../../src/delivery/holdings.ts';
import type { TlsContext } from '../../src/delivery/in-use.ts';
import { type AdministeredProxy, Observations } from '../../src/delivery/observations.ts';
import type { StreamObserver } from '../../src/delivery/observer.ts';
import { OBSERVATION_MS } from '../../src/rotation/gate.ts';
import { svid, TestHolder } from '../sds/holder.ts';
import { until } from '../support/until.ts';

const NOW = 1_000_000;
const LEAVES = { 1: svid({ serial: '01'.repeat(16) }), 2: svid({ serial: '02'.repeat(16) }) };
const NODE = { id: 'envoy', cluster: '', userAgent: '', adminAddress: '127.0.0.1:9901' };
const TRIES = 4;

test('what is acknowledged is looked for at once, and seen when it is in use', async (t) => {
  const { watch, looks, events } = world(t, () => [presenting(LEAVES[1])]);
  const { stream, version } = watch(LEAVES[1]);
  stream.acknowledged('default', version);
  await until('it is seen', () => events.includes(`observed default ${version}`));
  t.deepEqual(events, [
    `acknowledged ${version}`,
    `observing ${NOW + OBSERVATION_MS}`,
    `observed default ${version}`,
    'observing null',
  ]);
  t.deepEqual(looks, [{ pid: 7, address: NODE.adminAddress }]);
});

test('it is looked for again until it is in use', async (t) => {
  const answers = [null, [], [presenting(LEAVES[2])], [presenting(LEAVES[1])]];
  const { watch, looks, events } = world(t, () => answers.shift() ?? null);
  const { stream, version } = watch(LEAVES[1]);
  stream.acknowledged('default', version);
  await until('it is seen', () => events.includes(`observed default ${version}`));
  t.is(looks.length, 4);
});

test('what is never in use is given up, and nobody waits for that proxy again until it is seen', async (t) => {
  let contexts: TlsContext[] | null = null;
  const { watch, looks, events } = world(t, () => contexts);
  const { stream, version } = watch(LEAVES[1]);
  stream.acknowledged('default', version);
  await until('it is given up', () => events.at(-1) === 'observing null');
  t.is(looks.length, TRIES);
  stream.acknowledged('default', version);
  await until('it is given up again', () => events.at(-1) === 'observing null' && looks.length > TRIES);
  t.is(looks.length, TRIES + 1);
  events.length = 0;
  contexts = [presenting(LEAVES[1])];
  stream.acknowledged('default', version);
  await until('it is seen', () => events.includes(`observed default ${version}`));
  t.deepEqual(events.slice(0, 2), [`acknowledged ${version}`, 'observing null']);
  events.length = 0;
  stream.acknowledged('default', version);
  t.deepEqual(events.slice(0, 2), [`acknowledged ${version}`, `observing ${NOW + OBSERVATION_MS}`]);
});

test('streams of one proxy share a look, and those of another process do not', async (t) => {
  const { watch, looks, events } = world(t, () => [presenting(LEAVES[1])]);
  const all = [watch(LEAVES[1]), watch(LEAVES[1]), watch(LEAVES[1], 8)];
  for (const { stream, version } of all) stream.acknowledged('default', version);
  await until('all are seen', () => events.filter((event) => event.startsWith('observed')).length === 3);
  t.deepEqual(
    looks.map(({ pid }) => pid),
    [7, 8],
  );
});

test('an acknowledgement during a look is looked for by another', async (t) => {
  const answers: Answer[] = [null, null, null, null, [], [presenting(LEAVES[1])]];
  let during: (() => void) | null = null;
  const { watch, looks, events } = world(t, () => {
    during?.();
    return answers.shift() ?? null;
  });
  const [one, other] = [watch(LEAVES[1]), watch(LEAVES[1])];
  one.stream.acknowledged('default', one.version);
  await until('the proxy is given up', () => events.at(-1) === 'observing null');
  during = () => {
    during = null;
    other.stream.acknowledged('default', other.version);
  };
  one.stream.acknowledged('default', one.version);
  await until('both are seen', () => events.filter((event) => event.startsWith('observed')).length === 2);
  t.is(looks.length, TRIES + 2);
});

for (const [what, act] of [
  ['a proxy that names no admin interface', () => undefined],
  [
    'a version that was not sent last',
    (stream: StreamObserver) => {
      stream.named(NODE);
      stream.acknowledged('default', 'older');
    },
  ],
  [
    'a resource that the stream gave up',
    (stream: StreamObserver) => {
      stream.named(NODE);
      stream.dropped('default');
    },
  ],
] as const)
  test(`nothing is looked for on behalf of ${what}`, (t) => {
    const { observations, inner, looks } = world(t, () => []);
    const one = LEAVES[1];
    const stream = observations.watch(7, holderOf(one), inner);
    stream.sent('default', one.serial, one.notAfter);
    act(stream);
    stream.acknowledged('default', one.serial);
    t.deepEqual(looks, []);
  });

test('at most so many are looked at at one time', async (t) => {
  let [now, most] = [0, 0];
  const { watch, events } = world(t, async () => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => setImmediate(resolve));
    now--;
    return [presenting(LEAVES[1])];
  });
  for (let pid = 1; pid <= 10; pid++) {
    const { stream, version } = watch(LEAVES[1], pid);
    stream.acknowledged('default', version);
  }
  await until('all are seen', () => events.filter((event) => event.startsWith('observed')).length === 10);
  t.is(most, 2);
});

test('after the stream has closed nobody is told anything', async (t) => {
  const { watch, events } = world(t, () => [presenting(LEAVES[1])]);
  const { stream, version } = watch(LEAVES[1]);
  stream.acknowledged('default', version);
  stream.closed();
  events.length = 0;
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(events, []);
});

type Answer = TlsContext[] | null;

/** Proxies that answer as `look` does; null for not at all. */
function world(t: ExecutionContext, look: () => Answer | Promise<Answer>) {
  const looks: AdministeredProxy[] = [];
  const events: string[] = [];
  const observations = new Observations({
    clock: () => NOW,
    look: async ({ pid, address }) => {
      looks.push({ pid, address });
      const contexts = await look();
      if (contexts === null) throw new Error('no answer');
      return contexts;
    },
    limits: { concurrency: 2, tries: TRIES, delayMs: 1 },
  });
  t.teardown(() => observations.close());
  const inner: StreamObserver = {
    named: () => undefined,
    kept: () => undefined,
    sent: () => undefined,
    acknowledged: (_, version) => events.push(`acknowledged ${version}`),
    observing: (until) => events.push(`observing ${until}`),
    observed: (name, version) => events.push(`observed ${name} ${version}`),
    rejected: () => undefined,
    waiting: () => undefined,
    dropped: () => undefined,
    closed: () => undefined,
  };
  const watch = (one: X509Svid, pid = 7) => {
    const stream = observations.watch(pid, holderOf(one), inner);
    stream.named(NODE);
    stream.sent('default', one.serial, one.notAfter);
    return { stream, version: one.serial };
  };
  return { observations, inner, looks, events, watch };
}

function holderOf(one: X509Svid): Holder {
  return new TestHolder({ svids: [one] });
}

function presenting({ serial, identity }: X509Svid): TlsContext {
  return { roots: [], chain: [{ serial: serial.replace(/^0+/, ''), uris: [identity] }] };
}
