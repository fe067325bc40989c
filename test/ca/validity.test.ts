import test from 'ava';
import { validity } from '../../src/ca/validity.ts';
import { CarnetError } from '../../src/errors.ts';

const LIFETIME = { minSeconds: 10, maxSeconds: 86_400 };
const NOW = Date.parse('2026-03-01T12:00:00.900Z');
const ISSUER = {
  id: 'issuing-01234567',
  notBefore: new Date('2026-03-01T00:00:00Z'),
  notAfter: new Date('2026-03-02T00:00:00Z'),
};

function decide(changes: { now?: number; ttlSeconds?: number; backdateSeconds?: number }, issuer = ISSUER) {
  const { notBefore, notAfter } = validity(
    LIFETIME,
    { now: NOW, ttlSeconds: 3600, backdateSeconds: 30, ...changes },
    issuer,
  );
  return [notBefore.toISOString(), notAfter.toISOString()];
}

const DECIDED: readonly [string, Parameters<typeof decide>[0], string, string][] = [
  ['in whole seconds, backdated', {}, '2026-03-01T11:59:30.000Z', '2026-03-01T13:00:00.000Z'],
  ['not backdated', { backdateSeconds: 0 }, '2026-03-01T12:00:00.000Z', '2026-03-01T13:00:00.000Z'],
  ['the shortest life', { ttlSeconds: 10 }, '2026-03-01T11:59:30.000Z', '2026-03-01T12:00:10.000Z'],
  ['cut to its issuer’s end', { ttlSeconds: 86_400 }, '2026-03-01T11:59:30.000Z', '2026-03-02T00:00:00.000Z'],
  [
    'never backdated before its issuer',
    { now: Date.parse('2026-03-01T00:00:10Z') },
    '2026-03-01T00:00:00.000Z',
    '2026-03-01T01:00:10.000Z',
  ],
  [
    'with a tenth of its life left to its issuer',
    { now: Date.parse('2026-03-01T23:54:00Z') },
    '2026-03-01T23:53:30.000Z',
    '2026-03-02T00:00:00.000Z',
  ],
];

for (const [what, changes, notBefore, notAfter] of DECIDED)
  test(`a certificate's life: ${what}`, (t) => {
    t.deepEqual(decide(changes), [notBefore, notAfter]);
  });

test('a root has no issuer to be cut by', (t) => {
  const { notAfter } = validity(LIFETIME, { now: NOW, ttlSeconds: 86_400, backdateSeconds: 30 }, null);
  t.deepEqual(notAfter, new Date('2026-03-02T12:00:00Z'));
});

const REFUSED: readonly [string, string, Parameters<typeof decide>[0]][] = [
  ['a life below the profile’s', 'invalid_argument', { ttlSeconds: 9 }],
  ['a life above the profile’s', 'invalid_argument', { ttlSeconds: 86_401 }],
  ['a life that is no number', 'invalid_argument', { ttlSeconds: Number.NaN }],
  ['a clock before the issuer', 'authority_unavailable', { now: Date.parse('2026-02-28T23:59:59Z') }],
  ['a clock after the issuer', 'authority_unavailable', { now: Date.parse('2026-03-02T00:00:01Z') }],
  [
    'an issuer with less than a tenth left',
    'authority_unavailable',
    { now: Date.parse('2026-03-01T23:54:01Z') },
  ],
];

for (const [what, code, changes] of REFUSED)
  test(`refuses ${what}: ${code}`, (t) => {
    t.like(
      t.throws(() => decide(changes), { instanceOf: CarnetError }),
      { code },
    );
  });
