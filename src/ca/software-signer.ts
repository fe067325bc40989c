import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { CarnetError } from '../errors.ts';
import { parsePublicKey } from '../x509/public-key.ts';
import { type SignatureAlgorithm, signatureAlgorithmFor } from '../x509/signature-algorithm.ts';
import { importSigningKey } from './provider.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm, type Signer } from './signer.ts';

/** How long one signature takes decides where it is made: 0.03 and 0.05 ms here; P-384 1 ms, RSA 0.4 to 1.7 ms. */
const SIGNS_AT_ONCE: ReadonlySet<KeyAlgorithm> = new Set(['ec-p256', 'ed25519']);

/** A new private key: PKCS#8, DER. Secret: seal it, then overwrite it. */
export async function generatePrivateKey(algorithm: KeyAlgorithm): Promise<Buffer> {
  const { privateKey } = await generate(algorithm);
  return privateKey.export({ format: 'der', type: 'pkcs8' });
}

/** Signs with a private key in this process (PKCS#8, DER), new or imported. Throws `key_unsupported`, `key_weak`. */
export function softwareSigner(pkcs8: Uint8Array): Signer {
  const privateKey = importPrivateKey(pkcs8);
  const publicKey = parsePublicKey(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }));
  const name = publicKey.kind === 'rsa' ? `rsa-${publicKey.bits}` : publicKey.kind;
  const algorithm = KEY_ALGORITHMS.find((known) => known === name);
  if (algorithm === undefined)
    throw new CarnetError(
      'key_unsupported',
      `a CA key cannot be ${name}; use one of ${KEY_ALGORITHMS.join(', ')}`,
    );
  const signatureAlgorithm = signatureAlgorithmFor(publicKey.kind);
  return {
    algorithm,
    publicKey: publicKey.spki,
    signatureAlgorithm: signatureAlgorithm.der,
    sign: SIGNS_AT_ONCE.has(algorithm)
      ? async (tbs) => sign(signatureAlgorithm.digest, tbs, privateKey)
      : (tbs) => signInPool(signatureAlgorithm, tbs, privateKey),
    cryptoKey: () => importSigningKey(algorithm, privateKey.export({ format: 'der', type: 'pkcs8' })),
  };
}

function importPrivateKey(pkcs8: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: pkcs8 as Buffer, format: 'der', type: 'pkcs8' });
  } catch {
    // Without OpenSSL's own words: no part of a private key may come near a log.
    throw new CarnetError('key_unsupported', 'the private key is not PKCS#8 in DER, without a passphrase');
  }
}

function signInPool(
  algorithm: SignatureAlgorithm,
  tbs: Uint8Array,
  privateKey: KeyObject,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    sign(algorithm.digest, tbs, privateKey, (error, signature) =>
      error ? reject(error) : resolve(signature),
    );
  });
}

const generateKeys = promisify(generateKeyPair);

function generate(algorithm: KeyAlgorithm): Promise<{ privateKey: KeyObject }> {
  switch (algorithm) {
    case 'ec-p256':
      return generateKeys('ec', { namedCurve: 'P-256' });
    case 'ec-p384':
      return generateKeys('ec', { namedCurve: 'P-384' });
    case 'rsa-2048':
      return generateKeys('rsa', { modulusLength: 2048 });
    case 'rsa-3072':
      return generateKeys('rsa', { modulusLength: 3072 });
    case 'rsa-4096':
      return generateKeys('rsa', { modulusLength: 4096 });
    case 'ed25519':
      return generateKeys('ed25519');
  }
}
