import test from 'ava';
import { claimAt } from '../../../src/attestation/node/claim-path.ts';

const CLAIMS = {
  sub: 'x',
  'https://example.org/role': 'web',
  'kubernetes.io': { 'a/b': 1, 'c~d': true, list: ['a', 2], mixed: ['a', {}], none: null, half: 0.5 },
};

for (const [path, value] of [
  ['sub', 'x'],
  ['https://example.org/role', 'web'],
  ['/kubernetes.io/a~1b', '1'],
  ['/kubernetes.io/c~0d', 'true'],
  ['/kubernetes.io/list', ['a', '2']],
  ['/kubernetes.io/mixed', null],
  ['/kubernetes.io/none', null],
  ['/kubernetes.io/half', null],
  ['/kubernetes.io/list/0', null],
  ['/kubernetes.io', null],
  ['/kubernetes.io/', null],
  ['kubernetes.io/list', null],
  ['toString', null],
  ['__proto__', null],
  ['/sub/length', null],
  ['', null],
] as const)
  test(`the claim at ${path} is ${JSON.stringify(value)} (RFC 6901)`, (t) => {
    t.deepEqual(claimAt(CLAIMS, path), value);
  });
