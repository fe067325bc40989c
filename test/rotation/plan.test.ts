import test from 'ava';
import fc from 'fast-check';
import type { Authority } from '../../src/ca/authority.ts';
import { plan, type Step } from '../../src/rotation/plan.ts';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 5, 1);
const SCHEDULE = { rootTtlMs: 365 * DAY_MS, issuingTtlMs: 7 * DAY_MS };

const CASES: readonly [claim: string, authorities: Authority[], steps: string[]][] = [
  ['nothing yet: the root is made first', [], ['create-root']],
  ['a root alone gets an issuing CA', [root()], ['create-issuing']],
  ['a fresh pair is left alone', [root(), issuing(-1, 6)], []],
  ['an issuing CA is replaced at half of its life', [root(), issuing(-4, 3)], ['create-issuing']],
  ['an expired issuing CA is replaced', [root(), issuing(-9, -2)], ['create-issuing']],
  [
    'an issuing CA of the future (the clock went back) is replaced',
    [root(), issuing(1, 8)],
    ['create-issuing'],
  ],
  [
    'an issuing CA that its root holds back is not replaced again and again',
    [root(-364, 1), issuing(-5, 1)],
    [],
  ],
  ['under an expired root nothing is made', [root(-366, -1), issuing(-4, 3)], []],
  [
    'a draining issuing CA is retired once it has expired',
    [root(), issuing(-1, 6), issuing(-9, -2, 'draining')],
    ['retire'],
  ],
  [
    'a draining issuing CA that is still valid is kept',
    [root(), issuing(-1, 6), issuing(-4, 3, 'draining')],
    [],
  ],
];

for (const [claim, authorities, steps] of CASES)
  test(claim, (t) => {
    t.deepEqual(
      plan(NOW, authorities, SCHEDULE).map(({ kind }) => kind),
      steps,
    );
  });

test('carrying the steps out and planning again gives nothing, at any time', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -3 * DAY_MS, max: 10 * DAY_MS }), { maxLength: 60 }), (jumps) => {
      let now = NOW;
      let authorities: Authority[] = [];
      for (const jump of jumps) {
        now += jump;
        for (let round = 0; round < 3; round++)
          for (const step of plan(now, authorities, SCHEDULE)) authorities = carryOut(step, authorities, now);
        t.deepEqual(plan(now, authorities, SCHEDULE), []);
        t.true(authorities.filter(({ kind, state }) => kind === 'issuing' && state === 'active').length <= 1);
      }
    }),
    { numRuns: 300, seed: 1 },
  );
});

function carryOut(step: Step, authorities: Authority[], now: number): Authority[] {
  if (step.kind === 'create-root')
    return [...authorities, root((now - NOW) / DAY_MS, (now - NOW) / DAY_MS + 365)];
  if (step.kind === 'retire')
    return authorities.map((one) => (one.id === step.id ? { ...one, state: 'retired' } : one));
  const parent = authorities.find(({ id }) => id === step.parentId);
  const end = Math.min(now + SCHEDULE.issuingTtlMs, parent?.notAfter.getTime() ?? 0);
  const made = issuing((now - NOW) / DAY_MS, (end - NOW) / DAY_MS);
  return [
    ...authorities.map((one) => (one.id === step.supersedes ? { ...one, state: 'draining' as const } : one)),
    { ...made, id: `issuing-${authorities.length}` },
  ];
}

function root(fromDays = -100, toDays = 265): Authority {
  return authority('root', 'root', fromDays, toDays, 'active');
}

function issuing(fromDays: number, toDays: number, state: Authority['state'] = 'active'): Authority {
  return authority(`issuing${fromDays}`, 'issuing', fromDays, toDays, state);
}

function authority(
  id: string,
  kind: Authority['kind'],
  fromDays: number,
  toDays: number,
  state: Authority['state'],
): Authority {
  return {
    id,
    kind,
    state,
    parentId: 'root',
    certificate: new Uint8Array(),
    notBefore: new Date(NOW + fromDays * DAY_MS),
    notAfter: new Date(NOW + toDays * DAY_MS),
  };
}
