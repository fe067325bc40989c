import test from 'ava';
import type { Consumer } from '../../src/rotation/fleet.ts';
import { hasAcknowledged, laggards, mayRetire, OBSERVATION_MS, presenters } from '../../src/rotation/gate.ts';
import { consumer, DAY_MS, NOW } from './world.ts';

const HOLD_SECONDS = 60;

const WAITED_FOR: readonly [claim: string, fields: Partial<Consumer>, waits: boolean][] = [
  ['one that acknowledged the bundle', { bundleAcknowledged: 5 }, false],
  ['one that acknowledged a later bundle', { bundleAcknowledged: 6 }, false],
  ['one that acknowledged an earlier bundle only', { bundleAcknowledged: 4 }, true],
  ['one that refused it', { bundleAcknowledged: 4, bundleSent: 5, problem: 'bad' }, true],
  [
    'one that acknowledged it and is looked at',
    { bundleAcknowledged: 5, bundleObserved: 4, observesUntil: NOW + 1 },
    true,
  ],
  [
    'one that was seen to use it',
    { bundleAcknowledged: 5, bundleObserved: 5, observesUntil: NOW + 1 },
    false,
  ],
  ['one that was looked at in vain', { bundleAcknowledged: 5, observesUntil: NOW }, false],
  [
    'one that another clock says is looked at for longer than anybody is',
    { bundleAcknowledged: 5, observesUntil: NOW + OBSERVATION_MS + 1 },
    false,
  ],
  ['one that takes its trust from elsewhere', { bundleSent: null, bundleAcknowledged: null }, false],
  ['one that has ended', { bundleAcknowledged: 4, gone: true }, false],
  ['one that is away and may still run', { bundleAcknowledged: 4, streams: 0 }, true],
  ['one that is away and acknowledged it before', { bundleAcknowledged: 5, streams: 0 }, false],
  [
    'one that is away and whose certificate has ended',
    { bundleAcknowledged: 4, streams: 0, holdsUntil: NOW },
    false,
  ],
  [
    'one that is away and never had a certificate',
    { bundleAcknowledged: 4, streams: 0, holdsUntil: null },
    false,
  ],
  ['one that is here and never had a certificate', { bundleAcknowledged: 4, holdsUntil: null }, true],
  [
    'one that cannot acknowledge, just sent to',
    { acknowledges: false, bundleSent: 5, bundleSentAt: NOW - 59_000 },
    true,
  ],
  [
    'one that cannot acknowledge, after the hold',
    { acknowledges: false, bundleSent: 5, bundleSentAt: NOW - 60_000 },
    false,
  ],
  [
    'one that cannot acknowledge and has a hold of its own, after the common one',
    { acknowledges: false, bundleSent: 5, bundleSentAt: NOW - 60_000, minHoldSeconds: 61 },
    true,
  ],
  [
    'one that cannot acknowledge, after the hold of its own',
    { acknowledges: false, bundleSent: 5, bundleSentAt: NOW - 61_000, minHoldSeconds: 61 },
    false,
  ],
  [
    'one that cannot acknowledge, after the common hold, longer than its own',
    { acknowledges: false, bundleSent: 5, bundleSentAt: NOW - 60_000, minHoldSeconds: 59 },
    false,
  ],
  [
    'one that cannot acknowledge and was not sent it',
    { acknowledges: false, bundleSent: 4, bundleSentAt: 0 },
    true,
  ],
];

for (const [claim, fields, waits] of WAITED_FOR)
  test(`an activation ${waits ? 'waits for' : 'does not wait for'} ${claim}`, (t) => {
    t.is(laggards(5, NOW, HOLD_SECONDS, [consumer('x', fields)]).length, waits ? 1 : 0);
  });

const OLD = new Set(['old']);

test('who may still present an old certificate is anyone who holds one and has not ended', (t) => {
  const holding = { authorities: ['old', 'new'], holdsUntil: NOW + DAY_MS };
  t.is(presenters(OLD, NOW, [consumer('x', holding)]).length, 1);
  t.is(presenters(OLD, NOW, [consumer('x', { ...holding, streams: 0 })]).length, 1);
  t.is(presenters(OLD, NOW, [consumer('x', { ...holding, gone: true })]).length, 0);
  t.is(presenters(OLD, NOW, [consumer('x', { ...holding, authorities: ['new'] })]).length, 0);
  t.is(presenters(OLD, NOW, [consumer('x', { ...holding, holdsUntil: NOW })]).length, 0);
});

test('of one that cannot acknowledge it is not said that it has not done so', (t) => {
  const holding = { authorities: ['old', 'new'], holdsUntil: NOW + DAY_MS };
  const [why, other] = [true, false].map(
    (acknowledges) => presenters(OLD, NOW, [consumer('x', { ...holding, acknowledges })])[0]?.why,
  );
  t.regex(why ?? '', /^has not acknowledged/);
  t.regex(other ?? '', /^cannot acknowledge/);
});

test('who is looked at has acknowledged all the same', (t) => {
  const looked = consumer('x', { bundleAcknowledged: 5, observesUntil: NOW + 1 });
  t.true(hasAcknowledged(looked, 5, NOW, HOLD_SECONDS));
  t.false(hasAcknowledged(looked, 6, NOW, HOLD_SECONDS));
});

test('a retirement waits while it is looked whether new certificates are presented, and no longer', (t) => {
  const looked = { authorities: ['new'], observesUntil: NOW + OBSERVATION_MS };
  const [presenter] = presenters(OLD, NOW, [consumer('x', looked)]);
  t.is(presenter?.until, looked.observesUntil);
  t.is(presenters(OLD, NOW, [consumer('x', { ...looked, observesUntil: NOW })]).length, 0);
});

test('what no consumer accounts for holds a retirement up, but after a compromise', (t) => {
  const outstanding = { count: 1, until: NOW + DAY_MS };
  t.false(mayRetire({ presenters: [], outstanding }, false, new Set()));
  t.true(mayRetire({ presenters: [], outstanding }, true, new Set()));
  const [presenting] = presenters(OLD, NOW, [consumer('x', { authorities: ['old'] })]);
  const gate = { presenters: presenting === undefined ? [] : [presenting], outstanding };
  t.false(mayRetire(gate, true, new Set(['x'])), 'who is here can be given another, and is waited for');
  t.true(mayRetire(gate, true, new Set()));
});
