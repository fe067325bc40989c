import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { bitString, NULL, objectIdentifier, sequence } from '../../src/x509/der-writer.ts';
import { OID } from '../../src/x509/oid.ts';
import type { KeyKind } from '../../src/x509/public-key.ts';

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** A new key pair; RSA of 2048 bits. */
export function generateKeys(kind: KeyKind): KeyPair {
  switch (kind) {
    case 'ec-p256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'ec-p384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' });
    case 'rsa':
      return generateKeyPairSync('rsa', { modulusLength: 2048 });
    case 'ed25519':
      return generateKeyPairSync('ed25519');
  }
}

export function spkiOf({ publicKey }: KeyPair): Uint8Array {
  return publicKey.export({ format: 'der', type: 'spki' });
}

/** SubjectPublicKeyInfo of an EC key as RFC 5480 §2 has it, whatever the point is. */
export function ecSpki(curve: string, point: Uint8Array): Uint8Array {
  return sequence(sequence(objectIdentifier(OID.ecPublicKey), objectIdentifier(curve)), bitString(point));
}

/** SubjectPublicKeyInfo of an RSA key as RFC 3279 §2.3.1 has it, whatever the key is. */
export function rsaSpki(key: Uint8Array): Uint8Array {
  return sequence(sequence(objectIdentifier(OID.rsaEncryption), NULL), bitString(key));
}
