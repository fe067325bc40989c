import { createPublicKey, generateKeyPairSync, type KeyObject, verify, webcrypto } from 'node:crypto';
import test from 'ava';
import { KEY_ALGORITHMS } from '../../src/ca/signer.ts';
import { generatePrivateKey, softwareSigner } from '../../src/ca/software-signer.ts';
import { parsePublicKey } from '../../src/x509/public-key.ts';
import { findSignatureAlgorithm, verifySignature } from '../../src/x509/signature-algorithm.ts';

const DATA = Buffer.from('to be signed');

for (const algorithm of KEY_ALGORITHMS)
  test(`a new ${algorithm} key signs by the algorithm that it names`, async (t) => {
    const pkcs8 = await generatePrivateKey(algorithm);
    const signer = softwareSigner(pkcs8);
    t.is(signer.algorithm, algorithm);
    const signature = await signer.sign(DATA);
    const named = findSignatureAlgorithm(signer.signatureAlgorithm);
    if (named === undefined) return t.fail('an algorithm that we do not read');
    t.true(await verifySignature(named, parsePublicKey(signer.publicKey), DATA, signature));
    const key = createPublicKey({ key: Buffer.from(signer.publicKey), format: 'der', type: 'spki' });
    t.true(verify(named.digest, DATA, key, signature));
  });

for (const algorithm of ['ec-p256', 'ec-p384', 'rsa-2048', 'ed25519'] as const)
  test(`the CryptoKey of an ${algorithm} signer signs, and cannot be extracted`, async (t) => {
    const signer = softwareSigner(await generatePrivateKey(algorithm));
    const { provider, privateKey } = await signer.cryptoKey();
    t.false(privateKey.extractable);
    t.deepEqual(privateKey.usages, ['sign']);
    await t.throwsAsync(provider.subtle.exportKey('pkcs8', privateKey));
    const hash = algorithm === 'ec-p384' ? 'SHA-384' : 'SHA-256';
    const params = { ...(privateKey.algorithm as webcrypto.EcKeyAlgorithm), hash };
    const signature = await provider.subtle.sign(params, privateKey, DATA);
    const publicKey = await webcrypto.subtle.importKey('spki', signer.publicKey, params, true, ['verify']);
    t.true(await webcrypto.subtle.verify(params, publicKey, signature, DATA));
  });

function pkcs8Of({ privateKey }: { privateKey: KeyObject }): Buffer {
  return privateKey.export({ format: 'der', type: 'pkcs8' });
}

const REFUSED: readonly [string, string, Uint8Array][] = [
  ['P-521', 'key_unsupported', pkcs8Of(generateKeyPairSync('ec', { namedCurve: 'P-521' }))],
  ['RSA of 2560 bits', 'key_unsupported', pkcs8Of(generateKeyPairSync('rsa', { modulusLength: 2560 }))],
  ['RSA of 1024 bits', 'key_weak', pkcs8Of(generateKeyPairSync('rsa', { modulusLength: 1024 }))],
  ['RSASSA-PSS', 'key_unsupported', pkcs8Of(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }))],
  ['X25519', 'key_unsupported', pkcs8Of(generateKeyPairSync('x25519'))],
  ['what is no key', 'key_unsupported', Buffer.from('secret secret secret')],
];

for (const [what, code, pkcs8] of REFUSED)
  test(`refuses to sign with ${what}: ${code}`, (t) => {
    const error = t.throws(() => softwareSigner(pkcs8));
    t.like(error, { code });
    t.is(error.cause, undefined);
  });

test('two keys are never the same', async (t) => {
  const [one, two] = await Promise.all([generatePrivateKey('ec-p256'), generatePrivateKey('ec-p256')]);
  t.notDeepEqual(one, two);
});
