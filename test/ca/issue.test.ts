import { createHash, X509Certificate } from 'node:crypto';
import test from 'ava';
import type { Issuance } from '../../src/audit/issuance.ts';
import type { SigningAuthority } from '../../src/ca/authority.ts';
import { createIssue, type IssueOptions } from '../../src/ca/issue.ts';
import { CarnetError } from '../../src/errors.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { generateKeys, spkiOf } from '../x509/keys.ts';
import { createAuthorities, DAY_SECONDS, issueRequest } from './authorities.ts';

const NOW = Date.parse('2026-03-01T12:00:00.500Z');
const { root, issuing } = await createAuthorities('ec-p256', NOW);
const KEYS = generateKeys('ec-p256');

/** What it records is what it was given; the test decides when, and whether, a record is committed. */
function issuerOn(changes: Partial<IssueOptions> = {}) {
  const recorded: Issuance[] = [];
  const issue = createIssue({
    activeAuthority: () => issuing.signing,
    recorder: {
      record: async (issuance) => {
        recorded.push(issuance);
      },
    },
    clock: () => NOW,
    defaultTtlSeconds: 3600,
    backdateSeconds: 30,
    ...changes,
  });
  return { issue, recorded };
}

test('a leaf says what was granted, and is what was recorded', async (t) => {
  const { issue, recorded } = issuerOn();
  const svid = await issue(issueRequest(KEYS, 'ec-p256'));
  const [leaf, issuer] = svid.chain.map((der) => new X509Certificate(der));
  if (leaf === undefined || issuer === undefined) return t.fail('the chain is too short');
  t.is(svid.chain.length, 2);
  t.is(leaf.subjectAltName, 'URI:spiffe://carnet.test/ns/default/sa/web, DNS:web.internal');
  t.is(leaf.validFromDate.toISOString(), '2026-03-01T11:59:30.000Z');
  t.is(leaf.validToDate.toISOString(), '2026-03-01T13:00:00.000Z');
  t.true(leaf.publicKey.equals(KEYS.publicKey));
  t.true(leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey));
  t.true(issuer.verify(new X509Certificate(root.stored.certificate).publicKey));

  t.deepEqual(recorded, [
    {
      serial: svid.serial,
      profile: 'x509-svid',
      identity: 'spiffe://carnet.test/ns/default/sa/web',
      dnsNames: ['web.internal'],
      notBefore: svid.notBefore,
      notAfter: svid.notAfter,
      authority: issuing.stored.id,
      publicKeySha256: createHash('sha256').update(spkiOf(KEYS)).digest(),
      certificateSha256: createHash('sha256').update(leaf.raw).digest(),
      certificate: svid.chain[0] ?? new Uint8Array(),
      node: 'node-1',
      instance: 'container:0123456789ab',
      evidence: { uid: 1000 },
      entryId: 'web',
      entryVersion: 3,
      requester: 'agent:node-1',
    },
  ]);
  t.is(leaf.serialNumber.toLowerCase().padStart(32, '0'), svid.serial);
  t.is(svid.authority, issuing.stored.id);
});

test('nothing is released before its record is committed', async (t) => {
  const commit = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const { issue } = issuerOn({
    recorder: {
      record: () => {
        asked.resolve();
        return commit.promise;
      },
    },
  });
  let released = false;
  const svid = issue(issueRequest(KEYS, 'ec-p256')).then((result) => {
    released = true;
    return result;
  });
  await asked.promise;
  await new Promise(setImmediate);
  t.false(released);
  commit.resolve();
  t.regex((await svid).serial, /^[0-9a-f]{32}$/);
});

test('nothing is released when its record fails', async (t) => {
  const { issue } = issuerOn({
    recorder: {
      record: () => Promise.reject(new CarnetError('database_unavailable', 'the database is gone')),
    },
  });
  t.like(await t.throwsAsync(issue(issueRequest(KEYS, 'ec-p256'))), { code: 'database_unavailable' });
});

test('every serial is new, and 128 bits', async (t) => {
  const { issue, recorded } = issuerOn();
  for (let i = 0; i < 300; i++) await issue(issueRequest(KEYS, 'ec-p256'));
  const serials = new Set(recorded.map(({ serial }) => serial));
  t.is(serials.size, 300);
  for (const serial of serials) t.regex(serial, /^[0-9a-f]{32}$/);
  // Each bit is set in some and clear in others: 2^-299 says otherwise.
  const numbers = [...serials].map((serial) => BigInt(`0x${serial}`));
  for (let bit = 0n; bit < 128n; bit++)
    t.is(new Set(numbers.map((number) => (number >> bit) & 1n)).size, 2, `bit ${bit}`);
});

test('the grant’s lifetime goes before the default, and neither outlives the issuer', async (t) => {
  const { issue } = issuerOn();
  const short = await issue(issueRequest(KEYS, 'ec-p256', { ttlSeconds: 60 }));
  t.deepEqual(short.notAfter, new Date('2026-03-01T12:01:00Z'));
  const long = await issue(issueRequest(KEYS, 'ec-p256', { ttlSeconds: 30 * DAY_SECONDS }));
  t.deepEqual(long.notAfter, issuing.stored.notAfter);
});

const REFUSED: readonly [string, string, () => ReturnType<typeof issueRequest>, Partial<IssueOptions>][] = [
  [
    'an Ed25519 key, which Envoy does not accept',
    'key_unsupported',
    () => issueRequest(generateKeys('ed25519'), 'ed25519'),
    {},
  ],
  ['a request that its key did not sign', 'proof_of_possession_failed', () => unproved(), {}],
  [
    'what is no request',
    'csr_malformed',
    () => ({ ...issueRequest(KEYS, 'ec-p256'), csr: Buffer.from('no') }),
    {},
  ],
  [
    'a lifetime above the profile’s',
    'invalid_argument',
    () => issueRequest(KEYS, 'ec-p256', { ttlSeconds: 366 * DAY_SECONDS }),
    {},
  ],
  [
    'an identity without a path (X509-SVID §3.1)',
    'certificate_lint_failed',
    () => issueRequest(KEYS, 'ec-p256', { spiffeId: parseSpiffeId('spiffe://carnet.test') }),
    {},
  ],
  [
    'a DNS name that is none',
    'certificate_lint_failed',
    () => issueRequest(KEYS, 'ec-p256', { dnsNames: ['not a name'] }),
    {},
  ],
  [
    'an expired issuer',
    'authority_unavailable',
    () => issueRequest(KEYS, 'ec-p256'),
    { clock: () => NOW + 8 * DAY_SECONDS * 1000 },
  ],
  [
    'an issuer of the future, the clock having gone back',
    'authority_unavailable',
    () => issueRequest(KEYS, 'ec-p256'),
    { clock: () => NOW - DAY_SECONDS * 1000 },
  ],
  [
    'a signer whose key is not its certificate’s',
    'certificate_lint_failed',
    () => issueRequest(KEYS, 'ec-p256'),
    { activeAuthority: () => ({ ...issuing.signing, signer: root.signing.signer }) },
  ],
  [
    'a signer that signs something else',
    'certificate_lint_failed',
    () => issueRequest(KEYS, 'ec-p256'),
    { activeAuthority: () => faulty() },
  ],
  [
    'no active authority',
    'authority_unavailable',
    () => issueRequest(KEYS, 'ec-p256'),
    { activeAuthority: none },
  ],
];

for (const [what, code, request, options] of REFUSED)
  test(`issues nothing and records nothing for ${what}: ${code}`, async (t) => {
    const { issue, recorded } = issuerOn(options);
    t.like(await t.throwsAsync(issue(request()), { instanceOf: CarnetError }), { code });
    t.deepEqual(recorded, []);
  });

test('follows the active authority from leaf to leaf', async (t) => {
  const next = await createAuthorities('ec-p384', NOW);
  let active: SigningAuthority = issuing.signing;
  const { issue } = issuerOn({ activeAuthority: () => active });
  t.is((await issue(issueRequest(KEYS, 'ec-p256'))).authority, issuing.stored.id);
  active = next.issuing.signing;
  const svid = await issue(issueRequest(KEYS, 'ec-p256'));
  t.is(svid.authority, next.issuing.stored.id);
  t.deepEqual(svid.chain[1], next.issuing.stored.certificate);
});

function unproved() {
  const request = issueRequest(KEYS, 'ec-p256');
  const csr = Buffer.from(request.csr);
  csr[csr.length - 1] = (csr.at(-1) ?? 0) ^ 1;
  return { ...request, csr };
}

/** As hardware may fail: a good signature by the right key, of other bytes. */
function faulty(): SigningAuthority {
  const { signer } = issuing.signing;
  return { ...issuing.signing, signer: { ...signer, sign: (tbs) => signer.sign(tbs.subarray(1)) } };
}

function none(): SigningAuthority {
  throw new CarnetError('authority_unavailable', 'there is no active authority yet');
}
