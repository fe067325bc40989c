import test from 'ava';
import { FleetWorld, HOUR_MS, START } from './fleet-world.ts';

type Do = (world: FleetWorld) => void;
type Expected = Record<string, unknown> | null;

/** Each row: what happens to one instance, and what is stored of it then. */
const ROWS: [what: string, events: Do, expected: Expected][] = [
  [
    'an instance that only has a stream open',
    (w) => w.open('s'),
    { streams: 1, authorities: [], bundleSent: null },
  ],
  [
    'a certificate that was made and not sent may be sent any moment',
    (w) => w.open('s').issue('a', 'old'),
    { authorities: ['old'], holdsUntil: START + HOUR_MS, identities: ['spiffe://td/a'] },
  ],
  [
    'a new certificate does not replace the old one before it is acknowledged',
    (w) => w.hold('s', 'a', 'old').issue('a', 'new').send('s', 'a'),
    { authorities: ['new', 'old'] },
  ],
  [
    'an acknowledgement replaces what was acknowledged before',
    (w) => w.hold('s', 'a', 'old').hold('s', 'a', 'new'),
    { authorities: ['new'] },
  ],
  [
    'an acknowledgement of one version leaves what was sent after it',
    (w) => {
      w.open('s').issue('a', 'old').send('s', 'a');
      const first = w.versionOf('a');
      w.issue('a', 'new').send('s', 'a').acknowledge('s', 'a', first);
    },
    { authorities: ['new', 'old'] },
  ],
  [
    'a refused certificate may be in use all the same, and the refusal is told',
    (w) => w.hold('s', 'a', 'old').issue('a', 'new').send('s', 'a').reject('s', 'a', 'bad key'),
    { authorities: ['new', 'old'], problem: 'bad key' },
  ],
  [
    'an acknowledgement ends the refusal of this name',
    (w) => w.hold('s', 'a', 'old').reject('s', 'a', 'bad key').hold('s', 'a', 'new'),
    { problem: null },
  ],
  [
    'a withdrawn identity that was sent stays in use; SDS cannot take it back',
    (w) => w.hold('s', 'a', 'old').withdraw('a'),
    { authorities: ['old'] },
  ],
  [
    'one that was never sent is gone',
    (w) => w.open('s').issue('a', 'old').withdraw('a'),
    { authorities: [] },
  ],
  [
    'two streams of an instance each keep their own',
    (w) => w.hold('s', 'a', 'old').hold('r', 'a', 'old').hold('s', 'a', 'new'),
    { streams: 2, authorities: ['new', 'old'] },
  ],
  [
    'a stream that ends leaves what it acknowledged',
    (w) => w.hold('s', 'a', 'old').issue('a', 'new').close('s'),
    { streams: 0, authorities: ['new', 'old'] },
  ],
  [
    'a proxy that is back keeps the old one until it acknowledges the new',
    (w) => w.hold('s', 'a', 'old').close('s').open('s').issue('a', 'new').send('s', 'a'),
    { streams: 1, authorities: ['new', 'old'] },
  ],
  [
    'a proxy that is back and acknowledged the new one',
    (w) => w.hold('s', 'a', 'old').close('s').hold('s', 'a', 'new'),
    { authorities: ['new'] },
  ],
  [
    'another proxy of the instance does not speak for the one that is away',
    (w) => w.hold('s', 'a', 'old').close('s').hold('s', 'a', 'new', 'other'),
    { authorities: ['new', 'old'] },
  ],
  [
    'one stream takes the place of one',
    (w) => w.hold('s', 'a', 'old').hold('r', 'a', 'old').close('s').close('r').hold('s', 'a', 'new'),
    { authorities: ['new', 'old'] },
  ],
  [
    'a stream that was there before does not take its place',
    (w) => w.hold('s', 'a', 'old').hold('r', 'a', 'old').close('s').hold('r', 'a', 'new'),
    { authorities: ['new', 'old'] },
  ],
  [
    'a name that is asked for no more stays in use',
    (w) => w.hold('s', 'a', 'old').issue('a', 'new').drop('s', 'a'),
    { authorities: ['new', 'old'] },
  ],
  [
    'what was fetched is in use until it ends, whatever is fetched later',
    (w) => w.fetch('a', 'old').fetch('a', 'new'),
    { streams: 0, authorities: ['new', 'old'] },
  ],
  [
    'a fetched bundle cannot be acknowledged',
    (w) => w.issue('a', 'old').fetchBundle(3),
    { acknowledges: false, bundleSent: 3, bundleSentAt: START, bundleAcknowledged: null },
  ],
  [
    'the least over all streams counts for the bundle',
    (w) => w.trust('s', 4).trust('r', 5).sendBundle('s', 5),
    { bundleSent: 5, bundleAcknowledged: 4, acknowledges: true },
  ],
  [
    'a stream that has not acknowledged any bundle counts as none',
    (w) => w.trust('s', 4).open('r').sendBundle('r', 4),
    { bundleSent: 4, bundleAcknowledged: null },
  ],
  [
    'what is acknowledged is not yet seen to be in use',
    (w) => w.trust('s', 4).look('s', START + 5),
    { bundleAcknowledged: 4, bundleObserved: null, observesUntil: START + 5 },
  ],
  [
    'what is seen to be in use',
    (w) =>
      w
        .trust('s', 4)
        .look('s', START + 5)
        .see('s', 4)
        .look('s', null),
    { bundleAcknowledged: 4, bundleObserved: 4, observesUntil: null },
  ],
  [
    'a later bundle does not change what was seen, until it is seen itself',
    (w) => w.trust('s', 4).see('s', 4).trust('s', 5),
    { bundleAcknowledged: 5, bundleObserved: 4 },
  ],
  [
    'the least over all streams is seen, and the last of them is waited for',
    (w) => w.trust('s', 5).see('s', 5).trust('r', 5, 'other').see('r', 4).look('s', 1).look('r', 2),
    { bundleObserved: 4, observesUntil: 2 },
  ],
  [
    'with a proxy that cannot be seen the instance is not',
    (w) => w.trust('s', 5).see('s', 5).trust('r', 5, 'other'),
    { bundleAcknowledged: 5, bundleObserved: null },
  ],
  [
    'nobody waits for what was looked for on a stream that ended',
    (w) =>
      w
        .hold('s', 'a', 'old')
        .trust('r', 4)
        .see('r', 4)
        .look('r', START + 5)
        .close('r'),
    { bundleObserved: 4, observesUntil: null },
  ],
  [
    'what was seen before the agent was started again',
    (w) => w.hold('s', 'a', 'old').trust('r', 4).see('r', 4).restart(),
    { streams: 0, bundleAcknowledged: 4, bundleObserved: 4, observesUntil: null },
  ],
  [
    'a stream of the bundle that ended counts as long as the instance may present anything',
    (w) => w.hold('s', 'a', 'old').trust('b', 4).close('b').trust('c', 5, 'other'),
    { streams: 2, bundleSent: 4, bundleAcknowledged: 4 },
  ],
  [
    'and no longer',
    (w) => w.hold('s', 'a', 'old').trust('b', 4).close('b').pass(HOUR_MS).hold('s', 'a', 'old'),
    { bundleSent: null, bundleAcknowledged: null },
  ],
  [
    'an instance that is away is remembered until its certificates end',
    (w) =>
      w
        .hold('s', 'a', 'old')
        .close('s')
        .pass(HOUR_MS - 10_000),
    { authorities: ['old'], holdsUntil: START + HOUR_MS },
  ],
  [
    'and then forgotten',
    (w) =>
      w
        .hold('s', 'a', 'old')
        .close('s')
        .pass(HOUR_MS + 10_000),
    null,
  ],
  [
    'a process that has ended presents nothing, and its row says so',
    (w) => w.hold('s', 'a', 'old').trust('b', 4).close('s').close('b').end(),
    { gone: true, streams: 0, authorities: [], bundleSent: null, keepUntil: START + HOUR_MS },
  ],
  [
    'until its certificates have',
    (w) =>
      w
        .hold('s', 'a', 'old')
        .close('s')
        .end()
        .restart()
        .pass(HOUR_MS + 10_000),
    { gone: true },
  ],
  [
    'a container that ended and is started again counts for what it is given then',
    (w) => w.hold('s', 'a', 'old').close('s').end().startAgain().hold('s', 'a', 'new'),
    { gone: false, streams: 1, authorities: ['new'] },
  ],
  [
    'an agent that starts again knows what the instance holds',
    (w) => w.hold('s', 'a', 'old').trust('b', 4).restart(),
    { streams: 0, authorities: ['old'], bundleAcknowledged: 4, names: ['node'] },
  ],
  [
    'and counts it until it acknowledges a new one',
    (w) => w.hold('s', 'a', 'old').trust('b', 4).restart().hold('s', 'a', 'new').trust('b', 5),
    { streams: 2, authorities: ['new'], bundleAcknowledged: 5 },
  ],
  [
    'a certificate that was issued just before the agent was killed may be in use',
    (w) => {
      w.hold('s', 'a', 'old').store();
      w.hold('s', 'a', 'new').crash();
    },
    { authorities: ['new', 'old'] },
  ],
  [
    'so may one that was sent just before',
    (w) => {
      w.open('s').issue('a', 'old').store();
      w.send('s', 'a').crash();
    },
    { authorities: ['old'] },
  ],
  [
    'until another is acknowledged where it may have been sent',
    (w) => {
      w.hold('s', 'a', 'old').store();
      w.hold('s', 'a', 'new').crash().hold('s', 'a', 'newer');
    },
    { authorities: ['newer'] },
  ],
  [
    'so may the first one of an instance that was never stored',
    (w) => w.hold('s', 'a', 'old').crash(),
    { authorities: ['old'] },
  ],
  [
    'until somebody acknowledges another for the identity',
    (w) => w.hold('s', 'a', 'old').crash().hold('s', 'a', 'new', 'any'),
    { authorities: ['new'] },
  ],
  [
    'or until nobody came back for it',
    (w) => w.hold('s', 'a', 'old').crash().pass(40_000),
    { authorities: [] },
  ],
  [
    'an identity that no stream asked for does not count for long after a kill',
    (w) => {
      w.hold('s', 'a', 'old').issue('b', 'old').store();
      w.crash().hold('s', 'a', 'new').pass(40_000);
    },
    { authorities: ['new'] },
  ],
  [
    'a process that ended while there was no agent is gone',
    (w) => w.hold('s', 'a', 'old').end().restart(),
    { gone: true, authorities: [] },
  ],
];

for (const [what, events, expected] of ROWS)
  test(what, (t) => {
    const world = new FleetWorld();
    events(world);
    const record = world.record();
    if (expected === null) t.is(record, undefined);
    else t.like(record, expected);
  });

test('a certificate with an earlier end than one before it does not shorten what is remembered', (t) => {
  const world = new FleetWorld();
  world
    .hold('s', 'a', 'old')
    .pass(-HOUR_MS / 2)
    .hold('s', 'a', 'new')
    .pass(HOUR_MS / 2);
  world.close('s').end();
  t.is(world.record()?.keepUntil, START + HOUR_MS);
});

test('nothing is stored again that did not change', (t) => {
  const world = new FleetWorld();
  world.hold('s', 'a', 'old');
  world.store();
  const before = world.stored;
  world.acknowledge('s', 'a', world.versionOf('a'));
  world.store();
  t.is(world.stored, before);
});

test('a connected instance is stored before its row would be removed, also without a certificate', (t) => {
  const world = new FleetWorld();
  world.trust('b', 4);
  for (let minute = 0; minute < 300; minute++) {
    world.pass(60_000);
    t.true((world.record()?.keepUntil ?? 0) > world.now);
  }
});

test('more leftovers than are told apart still count', (t) => {
  const world = new FleetWorld();
  for (let i = 0; i < 300; i++)
    world
      .hold('s', 'a', i === 0 ? 'old' : 'new', `node-${i}`)
      .trust('s', i + 1)
      .close('s');
  const record = world.record();
  t.deepEqual(record?.authorities, ['new', 'old']);
  t.is(record?.bundleAcknowledged, 1);
  t.true((record?.held.left.length ?? 0) <= 256);
});

test('an instance past the limit is refused, one that is known is not', (t) => {
  const world = new FleetWorld({ members: 1 });
  world.open('s');
  t.notThrows(() => world.fleet.admit('process:x'));
  t.throws(() => world.fleet.admit('process:y'), { code: 'overloaded' });
});
