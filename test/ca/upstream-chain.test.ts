import { X509Certificate as NodeCertificate } from 'node:crypto';
// Loads reflect-metadata, which @peculiar/x509 needs first.
import '../../src/ca/provider.ts';
import * as x509 from '@peculiar/x509';
import test from 'ava';
import { checkUpstreamChain } from '../../src/ca/upstream-chain.ts';
import { createUpstreamRequest } from '../../src/ca/upstream-request.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { parseCsr } from '../../src/x509/csr.ts';
import { KEYS } from './authorities.ts';
import { type OutsideCa, outsideRoot } from './outside-ca.ts';

const TRUST_DOMAIN = parseTrustDomain('carnet.test');
const NOW = Date.now();
const DAY_MS = 86_400_000;

const request = await createUpstreamRequest(TRUST_DOMAIN, 'ec-p256', KEYS);
const { spki } = await parseCsr(request.csr);
const check = (chain: readonly Uint8Array[], now = NOW) =>
  checkUpstreamChain(chain, { spki, trustDomain: TRUST_DOMAIN, now });
const root = await outsideRoot('spiffe://carnet.test');

test('the request says what our issuing CAs say, and is signed by its key', async (t) => {
  const csr = new x509.Pkcs10CertificateRequest(request.csr);
  t.true(await csr.verify());
  t.regex(csr.subject, /^O=carnet\.test, CN=Carnet issuing CA [0-9a-f]{8}$/);
  t.is(request.id, `issuing-${csr.subject.slice(-8)}`);
  const asked = csr.extensions;
  t.deepEqual(
    Array.from(asked, ({ type, critical }) => [type, critical]),
    [
      ['2.5.29.19', true],
      ['2.5.29.15', true],
      ['2.5.29.17', false],
    ],
  );
  const [constraints, usages, names] = asked;
  t.like(constraints, { ca: true, pathLength: 0 });
  t.like(usages, { usages: x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign });
  t.regex(names?.toString('text') ?? '', /spiffe:\/\/carnet\.test/);
});

test('takes a chain from our key to a self-signed root, with intermediates or without', async (t) => {
  const direct = await check([await root.certify(spki), root.certificate]);
  t.deepEqual(direct.intermediates, []);
  const policy = await root.subordinate('Policy CA');
  const through = await check([await policy.certify(spki), policy.certificate, root.certificate]);
  t.deepEqual(
    through.intermediates.map(({ der }) => der),
    [policy.certificate],
  );
  t.deepEqual(through.root.der, root.certificate);
  t.true(new NodeCertificate(through.issuing.der).ca);
});

const basicConstraints = (ca: boolean, critical: boolean) =>
  new x509.BasicConstraintsExtension(ca, undefined, critical);
const keyUsage = (usages: number) => new x509.KeyUsagesExtension(usages, true);

type Case = [what: string, chain: () => Promise<Uint8Array[]>, says: RegExp];

const CASES: readonly Case[] = [
  ['our certificate alone', async () => [await root.certify(spki)], /2 to 5 certificates/],
  [
    'another key than ours',
    async () => [await root.certify((await outsideRoot('spiffe://carnet.test')).spki), root.certificate],
    /not of the key of our request/,
  ],
  [
    'a root that did not sign it',
    async () => [await root.certify(spki), (await outsideRoot('spiffe://carnet.test')).certificate],
    /the signature is its issuer's/,
  ],
  [
    'a chain that does not end in a root',
    async () => {
      const policy = await root.subordinate('Policy CA');
      return [await policy.certify(spki), policy.certificate];
    },
    /certificate 2: RFC 5280 §6.1.3/,
  ],
  [
    'the wrong order',
    async () => {
      const policy = await root.subordinate('Policy CA');
      return [await policy.certify(spki), root.certificate, policy.certificate];
    },
    /certificate 1: RFC 5280 §6.1.3/,
  ],
  [
    'a certificate that is no CA',
    async () => [await root.certify(spki, { extensions: [basicConstraints(false, true)] }), root.certificate],
    /certificate 1: .*say CA/,
  ],
  [
    'basic constraints that are not critical',
    async () => [await root.certify(spki, { extensions: [basicConstraints(true, false)] }), root.certificate],
    /certificate 1: .*critical/,
  ],
  [
    'a path that is too long for a CA in it',
    async () => {
      const policy = await root.subordinate('Policy CA', { pathLength: 0 });
      return [await policy.certify(spki), policy.certificate, root.certificate];
    },
    /certificate 2: .*path length/,
  ],
  [
    'a CA that may not sign certificates',
    async () => [
      await root.certify(spki, { extensions: [keyUsage(x509.KeyUsageFlags.cRLSign)] }),
      root.certificate,
    ],
    /certificate 1: .*keyCertSign/,
  ],
  [
    'a CA that may not sign CRLs',
    async () => [
      await root.certify(spki, { extensions: [keyUsage(x509.KeyUsageFlags.keyCertSign)] }),
      root.certificate,
    ],
    /certificate 1: .*cRLSign/,
  ],
  [
    "another trust domain's name",
    async () => [
      await root.certify(spki, {
        extensions: [
          new x509.SubjectAlternativeNameExtension([{ type: 'url', value: 'spiffe://other.test' }]),
        ],
      }),
      root.certificate,
    ],
    /certificate 1: X509-SVID §3.2/,
  ],
  [
    'a certificate without the trust domain',
    async () => [
      await root.certify(spki, { extensions: [new x509.SubjectAlternativeNameExtension([])] }),
      root.certificate,
    ],
    /certificate 1: X509-SVID §3.2: it has/,
  ],
  [
    'an extended key usage without clients',
    async () => [
      await root.certify(spki, {
        extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth])],
      }),
      root.certificate,
    ],
    /certificate 1: X509-SVID §4.4/,
  ],
  [
    'name constraints',
    async () => [
      await root.certify(spki, {
        extensions: [new x509.Extension('2.5.29.30', true, Buffer.from('3000', 'hex'))],
      }),
      root.certificate,
    ],
    /certificate 1: X509-SVID §4.2/,
  ],
  [
    'a CA that outlives its issuer',
    async () => [await root.certify(spki, { notAfter: new Date(NOW + 4_000 * DAY_MS) }), root.certificate],
    /certificate 1: it does not outlive/,
  ],
  [
    'a CA that has expired',
    async () => [await root.certify(spki, { notAfter: new Date(NOW - 1_000) }), root.certificate],
    /certificate 1: RFC 5280 §4.1.2.5/,
  ],
  [
    'a changed byte',
    async () => {
      const changed = Uint8Array.from(await root.certify(spki));
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
      return [changed, root.certificate];
    },
    /certificate 1: the signature/,
  ],
  ['what is no certificate', async () => [Buffer.from('no'), root.certificate], /certificate 1: /],
];

for (const [what, chain, says] of CASES)
  test(`refuses ${what}`, async (t) => {
    const error = await t.throwsAsync(check(await chain()));
    t.is(errorCodeOf(error), 'invalid_argument');
    t.regex(error.message, says);
  });

test('refuses a chain of more certificates than a handshake should carry', async (t) => {
  let ca: OutsideCa = root;
  const chain = [root.certificate];
  for (const name of ['one', 'two', 'three', 'four']) {
    ca = await ca.subordinate(name);
    chain.unshift(ca.certificate);
  }
  t.regex((await t.throwsAsync(check([await ca.certify(spki), ...chain]))).message, /2 to 5/);
});
