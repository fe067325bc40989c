import test from 'ava';
import type { RotationBody } from '../../src/api/rotations.ts';
import { rotationLines } from '../../src/cli/rotation-view.ts';

const NOW = Date.parse('2026-03-01T12:00:00Z');

const WAITING: RotationBody = {
  kind: 'root',
  phase: 'waiting for acknowledgements',
  old_id: 'root-1',
  new_id: 'root-2',
  hands_free: true,
  urgent: false,
  requested: null,
  bundle_sequence: 2,
  consumers: 4,
  acknowledged: 3,
  observed: 1,
  laggard_count: 2,
  laggards: [
    {
      instance: 'process:1',
      node: 'node-1',
      names: ['front'],
      why: 'has acknowledged the bundle, and is not seen to use it yet',
      until: '2026-03-01T12:00:10Z',
      problem: null,
    },
    {
      instance: 'process:2',
      node: 'node-1',
      names: [],
      why: 'has not acknowledged the bundle',
      until: null,
      problem: 'bad \u001b[2J key',
    },
  ],
  presenter_count: 0,
  presenters: [],
  outstanding: 0,
  open_by: null,
  actor: 'operator:ada',
  reason: '',
  started_at: '2026-03-01T12:00:00Z',
};

test('a rotation shows who acknowledged, who is seen to use it, and by name who is missing', (t) => {
  t.deepEqual(rotationLines(WAITING, NOW), [
    'root rotation root-1 -> root-2: waiting for acknowledgements',
    '  prepared      [########################]',
    '  acknowledged  [##################......] 3 of 4',
    '  observed      [######..................] 1 of 4',
    '  activated     [........................]',
    '  - front on node-1 has acknowledged the bundle, and is not seen to use it yet, until in 10s',
    '  - process:2 on node-1 has not acknowledged the bundle: bad \ufffd[2J key',
  ]);
});

test('where nothing is redrawn, times are by the clock: nothing changes while somebody is waited for', (t) => {
  t.regex(rotationLines(WAITING, null)[5] ?? '', /not seen to use it yet, until 2026-03-01 12:00:10Z$/);
});

test('once it is activated all have acknowledged it, seen or not', (t) => {
  const draining = {
    ...WAITING,
    phase: 'draining' as const,
    laggard_count: 0,
    laggards: [],
    presenter_count: 1,
  };
  t.deepEqual(rotationLines(draining, NOW).slice(2, 6), [
    '  acknowledged  [########################] 4 of 4',
    '  observed      [######..................] 1 of 4',
    '  activated     [########################]',
    '  drained       [##################......] 1 still present the old chain',
  ]);
});
