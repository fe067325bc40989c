import { createPrivateKey, randomBytes, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test from 'ava';
import {
  answerQuestion,
  isAnswered,
  NONCE_BYTES,
  questionOf,
} from '../../../src/attestation/node/possession.ts';
import { createX509popAttestor, type X509popOptions } from '../../../src/attestation/node/x509pop.ts';
import { ChainPayload } from '../../../src/gen/carnet/agent/v1/agent.ts';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.ts';
import { parseCertificate } from '../../../src/x509/certificate.ts';
import { decodePem } from '../../../src/x509/pem.ts';
import { parsePublicKey } from '../../../src/x509/public-key.ts';
import {
  CA_EXTENSIONS,
  type Issued,
  type KeyType,
  MACHINE_EXTENSIONS,
  MachineCa,
  type Wish,
} from '../machine-ca.ts';

const DOMAIN = parseTrustDomain('example.org');
const FAILED = { code: 'attestation_failed' };
const DAY_MS = 86_400_000;

const ca = new MachineCa();
test.after.always(() => ca.remove());
const root = ca.root('/CN=machines');
const machine = (changes: Partial<Wish> = {}, issuer = root): Issued =>
  ca.issue(issuer, { subject: '/O=Example/CN=web1.example.org', extensions: MACHINE_EXTENSIONS, ...changes });
const web1 = machine();

function derOf(issued: Issued): Uint8Array {
  return decodePem('CERTIFICATE', issued.certificate)[0] ?? new Uint8Array();
}

/** A machine's side: shows a chain and answers by the key of one of the certificates. */
function machineSide(chain: readonly Issued[], key: Issued = chain[0] ?? web1) {
  const certificate = derOf(chain[0] ?? web1);
  const { kind } = parsePublicKey(parseCertificate(derOf(key)).spki);
  const own = { key: createPrivateKey(readFileSync(key.keyFile)), kind, certificate };
  return {
    payload: ChainPayload.encode({ certificates: chain.map(derOf) }).finish(),
    answer: (question: Uint8Array) =>
      Promise.resolve(answerQuestion(question, own, DOMAIN, randomBytes(NONCE_BYTES))),
  };
}

function attestorOf(trusted: readonly Issued[], options: Partial<X509popOptions> = {}) {
  return createX509popAttestor({
    authorities: trusted.map((one) => parseCertificate(derOf(one))),
    nodeName: 'common_name',
    namePrefix: '',
    trustDomain: DOMAIN,
    clock: Date.now,
    ...options,
  });
}

async function attest(chain: readonly Issued[], trusted: readonly Issued[] = [root], key?: Issued) {
  const side = machineSide(chain, key);
  return attestorOf(trusted).attest(side.payload, side.answer);
}

test('a machine of the CA that has its key is the node of its common name', async (t) => {
  const { name, selectors, evidence, reattestable } = await attest([web1]);
  t.is(name, 'web1.example.org');
  t.true(reattestable);
  const certificate = parseCertificate(derOf(web1));
  const { fingerprint, ca_fingerprints: authorities } = evidence as {
    fingerprint: string;
    ca_fingerprints: string[];
  };
  t.regex(fingerprint, /^[0-9a-f]{64}$/);
  t.deepEqual(selectors, [
    `node:x509pop:ca-fingerprint:${authorities[0]}`,
    `node:x509pop:fingerprint:${fingerprint}`,
    'node:x509pop:san-dns:web1',
    'node:x509pop:san-dns:web1.example.org',
    'node:x509pop:subject-cn:web1.example.org',
  ]);
  t.is(evidence.not_after, certificate.notAfter.toISOString());
});

for (const key of ['ec-p256', 'ec-p384', 'rsa', 'ed25519'] satisfies KeyType[])
  test(`a machine proves that it has its key: ${key}`, async (t) => {
    const own = ca.root('/CN=machines', key);
    t.is((await attest([machine({ key }, own)], [own])).name, 'web1.example.org');
  });

test('a chain goes through intermediates, with the CA at its end or without, among several that are trusted', async (t) => {
  const middle = ca.issue(root, { subject: '/CN=middle', extensions: CA_EXTENSIONS });
  const below = machine({}, middle);
  // The same name and another key, as after a CA's renewal.
  const renewed = ca.root('/CN=machines');
  for (const chain of [
    [below, middle],
    [below, middle, root],
  ]) {
    const { evidence } = await attest(chain, [renewed, root]);
    t.is((evidence.ca_fingerprints as string[]).length, 2);
  }
  t.is((await attest([below], [middle])).name, 'web1.example.org');
});

test('a node may be named after its certificate, and its names stay selectors', async (t) => {
  const side = machineSide([machine({ subject: '/CN=Web 1/CN=other' })]);
  const attestor = attestorOf([root], { nodeName: 'fingerprint', namePrefix: 'm-' });
  const { name, selectors } = await attestor.attest(side.payload, side.answer);
  t.regex(name, /^m-[0-9a-f]{64}$/);
  t.true(selectors.includes('node:x509pop:subject-cn:Web 1'));
  t.true(selectors.includes('node:x509pop:subject-cn:other'));
});

const impostor = ca.root('/CN=machines');
const middle = ca.issue(root, { subject: '/CN=middle', extensions: CA_EXTENSIONS });
const notCa = ca.issue(root, {
  subject: '/CN=middle',
  extensions: ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,keyCertSign'],
});
const noCertSign = ca.issue(root, {
  subject: '/CN=middle',
  extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,cRLSign'],
});
const short = ca.issue(root, {
  subject: '/CN=short',
  extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign'],
});
const belowShort = ca.issue(short, { subject: '/CN=below', extensions: CA_EXTENSIONS });
const constrained = ca.issue(root, {
  subject: '/CN=constrained',
  extensions: [...CA_EXTENSIONS, 'nameConstraints=permitted;DNS:example.org'],
});

for (const [claim, chain, says, trusted] of [
  ['of another CA with the same name', [machine({}, impostor)], /none of the 1 trusted CAs/, [root]],
  ['whose intermediate is left out', [machine({}, middle)], /none of the 1 trusted CAs/, [root]],
  ['out of order', [middle, machine({}, middle)], /RFC 5280|none of the/, [root]],
  ['with a stranger in between', [web1, middle], /its issuer is not the certificate that follows/, [root]],
  ['by an issuer that is no CA', [machine({}, notCa), notCa], /basic constraints say CA/, [root]],
  [
    'by an issuer that may not sign certificates',
    [machine({}, noCertSign), noCertSign],
    /keyCertSign/,
    [root],
  ],
  [
    'below a CA with a path that is too long',
    [machine({}, belowShort), belowShort, short],
    /path length/,
    [root],
  ],
  [
    'under name constraints, which are not judged',
    [machine({}, constrained), constrained],
    /name constraints/,
    [root],
  ],
  ['that is a CA itself', [middle], /it is no CA/, [root]],
  ['that is the trusted CA', [root], /is the CA itself/, [root]],
  [
    'for encipherment only',
    [machine({ extensions: ['keyUsage=critical,keyEncipherment'] })],
    /digitalSignature/,
    [root],
  ],
  ['for servers only', [machine({ extensions: ['extendedKeyUsage=serverAuth'] })], /clientAuth/, [root]],
  [
    'with a critical extension that nobody knows',
    [machine({ extensions: ['1.2.3.4=critical,ASN1:NULL'] })],
    /no critical extension/,
    [root],
  ],
  ['of no certificate', [], /0 certificates/, [root]],
  ['of six certificates', [web1, middle, middle, middle, middle, root], /6 certificates/, [root]],
] satisfies [string, Issued[], RegExp, Issued[]][])
  test(`refuses a chain ${claim}`, async (t) => {
    await t.throwsAsync(attest(chain, trusted, chain[0] ?? web1), { ...FAILED, message: says });
  });

for (const [claim, offsetMs] of [
  ['not valid yet', -DAY_MS],
  ['not valid any more', 40 * DAY_MS],
] as const)
  test(`refuses a chain that is ${claim}, and says of which certificates (RFC 5280 §4.1.2.5)`, async (t) => {
    const side = machineSide([web1]);
    const attestor = attestorOf([root], { clock: () => Date.now() + offsetMs });
    const says = /certificate 1: .*it is valid now; certificate 2: .*it is valid now/;
    await t.throwsAsync(attestor.attest(side.payload, side.answer), { ...FAILED, message: says });
  });

test('refuses a signature that was changed in a certificate', async (t) => {
  const der = Uint8Array.from(derOf(web1));
  const last = der.length - 1;
  der[last] = (der[last] ?? 0) ^ 1;
  const payload = ChainPayload.encode({ certificates: [der] }).finish();
  await t.throwsAsync(attestorOf([root]).attest(payload, machineSide([web1]).answer), FAILED);
});

for (const [claim, payload] of [
  ['is no protobuf', Buffer.from('not a chain')],
  ['holds what is no certificate', ChainPayload.encode({ certificates: [Buffer.from('x')] }).finish()],
  ['is too large', Buffer.alloc(1 << 20)],
] as const)
  test(`refuses a payload that ${claim}, before anything is asked`, async (t) => {
    const asked = () => Promise.reject(new Error('asked'));
    await t.throwsAsync(attestorOf([root]).attest(payload, asked), FAILED);
  });

for (const [claim, subject, says] of [
  ['without a common name', '/O=Example', /0 common names/],
  ['with two common names', '/CN=a/CN=b', /2 common names/],
  ['whose common name is no node name', '/CN=Web1', /"Web1" is not a node's name/],
] as const)
  test(`refuses a machine ${claim}: it is not bent into one`, async (t) => {
    await t.throwsAsync(attest([machine({ subject })]), { ...FAILED, message: says });
  });

const other = machine({ subject: '/CN=web2.example.org' });
const key = createPrivateKey(readFileSync(web1.keyFile));
for (const [claim, answer] of [
  ['by another key', machineSide([web1], other).answer],
  ['over another question', () => machineSide([web1]).answer(questionOf(randomBytes(32), DOMAIN))],
  ['over the bare question', (asked: Uint8Array) => Promise.resolve(sign('sha256', asked, key))],
  ['that is empty', () => Promise.resolve(new Uint8Array())],
  ['that is a nonce without a signature', () => Promise.resolve(randomBytes(NONCE_BYTES))],
  ['that is too long', () => Promise.resolve(randomBytes(1 << 16))],
] satisfies [string, (question: Uint8Array) => Promise<Uint8Array>][])
  test(`refuses an answer ${claim}`, async (t) => {
    const says = /not signed by the key/;
    await t.throwsAsync(attestorOf([root]).attest(machineSide([web1]).payload, answer), {
      ...FAILED,
      message: says,
    });
  });

test("an answer counts once: with another nonce, another certificate or in another trust domain it doesn't", (t) => {
  const own = {
    key,
    kind: 'ec-p256' as const,
    certificate: derOf(web1),
  };
  const nonce = randomBytes(NONCE_BYTES);
  const answer = answerQuestion(questionOf(nonce, DOMAIN), own, DOMAIN, randomBytes(NONCE_BYTES));
  const shown = { ...own, key: parsePublicKey(parseCertificate(derOf(web1)).spki).key };
  t.true(isAnswered(answer, nonce, shown, DOMAIN));
  t.false(isAnswered(answer, randomBytes(NONCE_BYTES), shown, DOMAIN));
  t.false(isAnswered(answer, nonce, { ...shown, certificate: derOf(other) }, DOMAIN));
  t.false(isAnswered(answer, nonce, shown, parseTrustDomain('other.org')));
});

test('a machine answers no server of another trust domain, who could hand on a question of ours', (t) => {
  const own = { key, kind: 'ec-p256' as const, certificate: derOf(web1) };
  const nonce = randomBytes(NONCE_BYTES);
  t.throws(
    () => answerQuestion(questionOf(nonce, DOMAIN), own, parseTrustDomain('other.org'), nonce),
    FAILED,
  );
  t.throws(() => answerQuestion(Buffer.from('x'), own, DOMAIN, nonce), FAILED);
});
