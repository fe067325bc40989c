import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import test from 'ava';
import { type PossessionProof, proveKey } from '../../src/ca/possession.ts';
import { type ErrorCode, errorCodeOf } from '../../src/errors.ts';
import { buildCsr } from '../../src/x509/build-csr.ts';

const SIGNED = Buffer.from('11111111-2222-3333-4444-555555555555');
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN };
const P256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const P384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const RSA = generateKeyPairSync('rsa', { modulusLength: 3072 });

function proofOf({
  publicKey,
  privateKey,
}: {
  publicKey: KeyObject;
  privateKey: KeyObject;
}): PossessionProof {
  const padding = publicKey.asymmetricKeyType === 'rsa' ? PSS : {};
  return {
    spki: publicKey.export({ format: 'der', type: 'spki' }),
    signed: SIGNED,
    signature: sign('sha256', SIGNED, { key: privateKey, ...padding }),
  };
}

test('a key is proved by PKCS#10 or by a signature of its own kind', async (t) => {
  t.is((await proveKey(buildCsr(P256))).kind, 'ec-p256');
  t.is((await proveKey(proofOf(P256))).kind, 'ec-p256');
  t.is((await proveKey(proofOf(P384))).kind, 'ec-p384');
  t.is((await proveKey(proofOf(RSA))).kind, 'rsa');
});

const good = proofOf(P256);
const REFUSED: [why: string, proof: PossessionProof, code: ErrorCode][] = [
  [
    'by another key',
    { ...good, signature: proofOf(generateKeyPairSync('ec', { namedCurve: 'P-256' })).signature },
    'proof_of_possession_failed',
  ],
  ['of another request', { ...good, signed: Buffer.from('other') }, 'proof_of_possession_failed'],
  ['that is no signature', { ...good, signature: Buffer.from('x') }, 'proof_of_possession_failed'],
  [
    'by RSA with PKCS#1 v1.5',
    { ...proofOf(RSA), signature: sign('sha256', SIGNED, RSA.privateKey) },
    'proof_of_possession_failed',
  ],
  [
    'for a curve that we do not have',
    proofOf(generateKeyPairSync('ec', { namedCurve: 'P-521' })),
    'key_unsupported',
  ],
  ['for what is no key', { ...good, spki: Buffer.from('x') }, 'der_malformed'],
];
for (const [why, proof, code] of REFUSED)
  test(`refuses a proof ${why}`, async (t) => {
    t.is(errorCodeOf(await t.throwsAsync(proveKey(proof))), code);
  });
