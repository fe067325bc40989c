import test from 'ava';
import { parseCertsPage } from '../../src/delivery/certs-page.ts';
import { type Expected, isInUse, type TlsContext } from '../../src/delivery/in-use.ts';

const TRUST_DOMAIN = 'spiffe://carnet.test';
const WEB = `${TRUST_DOMAIN}/web`;
const LEAF: Expected = { kind: 'leaf', identity: WEB, serial: '1a' };
const BUNDLE: Expected = {
  kind: 'bundle',
  trustDomainId: TRUST_DOMAIN,
  serials: new Set(['a', 'b']),
  foreign: new Set(['f']),
};

const CASES: readonly [claim: string, Expected, TlsContext[], boolean][] = [
  ['a leaf that its context presents is in use', LEAF, [context(['a'], '1a')], true],
  ['a leaf in one of two contexts is not', LEAF, [context(['a'], '1a'), context(['a'], '2b')], false],
  ['a leaf that no context presents is not', LEAF, [], false],
  ['contexts of another identity do not matter', LEAF, [context(['a'], '1a'), other()], true],
  ['a bundle whose roots its context trusts is in use', BUNDLE, [context(['a', 'b'], '1a')], true],
  ['a bundle of which one root is missing is not', BUNDLE, [context(['a'], '1a')], false],
  ['a bundle beside a root that it no longer has is not', BUNDLE, [context(['a', 'b', 'c'], '1a')], false],
  ["a bundle beside another trust domain's root is in use", BUNDLE, [context(['a', 'b', 'f'], '1a')], true],
  [
    "another trust domain's root does not stand for one of its own",
    BUNDLE,
    [context(['a', 'f'], '1a')],
    false,
  ],
  [
    'a bundle in one of two contexts is not',
    BUNDLE,
    [context(['a', 'b'], '1a'), context(['c'], '1a')],
    false,
  ],
  ['a bundle in no context is not', BUNDLE, [other()], false],
];

for (const [claim, expected, contexts, verdict] of CASES)
  test(claim, (t) => t.is(isInUse(expected, contexts), verdict));

test("reads what Envoy's /certs answers, leading zeros and capitals or not", (t) => {
  const certificate = (serial_number: string, uri: string) => ({
    path: '<inline>',
    serial_number,
    subject_alt_names: [{ uri }, { dns: 'web' }],
    days_until_expiration: '0',
  });
  const page = {
    certificates: [
      { ca_cert: [certificate('0A', TRUST_DOMAIN)], cert_chain: [certificate('1A', WEB)] },
      { cert_chain: [{}] },
      {},
    ],
  };
  t.deepEqual(parseCertsPage(JSON.stringify(page)), [
    { roots: [{ serial: 'a', uris: [TRUST_DOMAIN] }], chain: [{ serial: '1a', uris: [WEB] }] },
    { roots: [], chain: [{ serial: '', uris: [] }] },
    { roots: [], chain: [] },
  ]);
  t.deepEqual(parseCertsPage('{}'), []);
});

for (const text of [
  '',
  'OK',
  '[]',
  '{"certificates":{}}',
  '{"certificates":[{"ca_cert":[{"serial_number":1}]}]}',
])
  test(`refuses ${text || 'nothing'} as an answer of /certs`, (t) => {
    t.throws(() => parseCertsPage(text), { code: 'invalid_argument' });
  });

function context(roots: readonly string[], leaf: string): TlsContext {
  return {
    roots: roots.map((serial) => ({ serial, uris: [TRUST_DOMAIN] })),
    chain: [{ serial: leaf, uris: [WEB] }],
  };
}

function other(): TlsContext {
  return {
    roots: [{ serial: 'ff', uris: ['spiffe://other.test'] }],
    chain: [{ serial: 'ee', uris: ['spiffe://other.test/web'] }],
  };
}
