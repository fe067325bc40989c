import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { DerReader } from './der-reader.ts';
import { TAG } from './der-tag.ts';
import { OID } from './oid.ts';
import { encodePem } from './pem.ts';

/** The kinds of public key that we read. For RSA, `bits` tells the sizes apart. */
export type KeyKind = 'ec-p256' | 'ec-p384' | 'rsa' | 'ed25519';

/** A public key that has passed every check below: parsed once, valid ever after. */
export interface PublicKey {
  readonly kind: KeyKind;
  /** Size of the curve's field or of the RSA modulus. */
  readonly bits: number;
  /** SubjectPublicKeyInfo, DER: the only encoding of this key that we accept. */
  readonly spki: Uint8Array;
  /** The contents of subjectPublicKey: an uncompressed point, an RSAPublicKey, or Ed25519's 32 octets. */
  readonly octets: Uint8Array;
  readonly key: KeyObject;
}

/** Below it, RSA is breakable (BSI TR-02102, NIST SP 800-131A); above, one verification costs milliseconds. */
const RSA_BITS = { min: 2048, max: 8192 } as const;
/** F4 or more (FIPS 186-5 §5.4); Go's crypto/rsa takes no exponent of 2^31 or more. */
const RSA_EXPONENT = { min: 65537, max: 2 ** 31 - 1 } as const;
const CURVES: Readonly<Record<string, { kind: KeyKind; bits: number }>> = {
  [OID.secp256r1]: { kind: 'ec-p256', bits: 256 },
  [OID.secp384r1]: { kind: 'ec-p384', bits: 384 },
};
const UNCOMPRESSED = 0x04;

/**
 * Parses a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) and checks the key itself: P-256 and P-384 with an
 * uncompressed point on the curve (RFC 5480 §2), RSA of 2048 to 8192 bits (RFC 3279 §2.3.1), Ed25519
 * (RFC 8410 §4). Throws `der_malformed`, `key_unsupported`, `key_weak`.
 */
export function parsePublicKey(spki: Uint8Array): PublicKey {
  const outer = new DerReader(spki);
  const info = outer.enter(TAG.sequence);
  outer.end();
  const algorithm = info.enter(TAG.sequence);
  const octets = info.bitStringOctets();
  info.end();
  const { kind, bits } = checkKey(algorithm.objectIdentifier(), algorithm, octets);
  return { kind, bits, spki, octets, key: importKey(spki) };
}

/**
 * The key identifier that our certificates carry: the leftmost 160 bits of the SHA-256 of subjectPublicKey
 * (RFC 7093 §2, method 1), which RFC 5280 §4.2.1.2 allows in place of SHA-1.
 */
export function keyIdentifier(octets: Uint8Array): Uint8Array {
  return hash('sha256', octets, 'buffer').subarray(0, 20);
}

/** Checks the key in `octets` by its algorithm; `parameters` stands behind the algorithm's identifier. */
function checkKey(
  algorithm: string,
  parameters: DerReader,
  octets: Uint8Array,
): { kind: KeyKind; bits: number } {
  switch (algorithm) {
    case OID.ecPublicKey:
      return checkPoint(parameters, octets);
    case OID.rsaEncryption:
      // RFC 3279 §2.3.1: the parameters MUST be NULL.
      parameters.null();
      parameters.end();
      return { kind: 'rsa', bits: checkRsa(octets) };
    case OID.ed25519:
      // RFC 8410 §3: the parameters MUST be absent.
      parameters.end();
      if (octets.length !== 32) throw unsupported(`an Ed25519 key of ${octets.length} octets`);
      return { kind: 'ed25519', bits: 256 };
    default:
      throw unsupported(`a key of algorithm ${algorithm}`);
  }
}

/** RFC 5480 §2.1.1: the parameters name the curve; whether the point lies on it, `importKey` finds. */
function checkPoint(parameters: DerReader, octets: Uint8Array): { kind: KeyKind; bits: number } {
  if (!parameters.nextIs(TAG.objectIdentifier)) throw unsupported('an EC key without a named curve');
  const name = parameters.objectIdentifier();
  parameters.end();
  const curve = CURVES[name];
  if (curve === undefined) throw unsupported(`an EC key on curve ${name}`);
  if (octets[0] !== UNCOMPRESSED || octets.length !== 1 + (2 * curve.bits) / 8)
    throw unsupported('an EC key that is not an uncompressed point');
  return curve;
}

/** Returns the size of the modulus in bits. */
function checkRsa(octets: Uint8Array): number {
  const outer = new DerReader(octets);
  const key = outer.enter(TAG.sequence);
  outer.end();
  const modulus = key.unsigned();
  const exponent = key.unsigned();
  key.end();
  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
  if (bits < RSA_BITS.min) throw weak(`an RSA key of ${bits} bits; at least ${RSA_BITS.min} are needed`);
  if (bits > RSA_BITS.max) throw unsupported(`an RSA key of ${bits} bits; at most ${RSA_BITS.max} are read`);
  if (isEven(modulus)) throw weak('an RSA key with an even modulus');
  if (isEven(exponent)) throw weak('an RSA key with an even exponent');
  const value =
    exponent.length > 6 ? Number.POSITIVE_INFINITY : Buffer.from(exponent).readUIntBE(0, exponent.length);
  if (value < RSA_EXPONENT.min) throw weak(`an RSA key with exponent ${value}; 65537 is the least`);
  if (value > RSA_EXPONENT.max) throw unsupported('an RSA key with an exponent of 2^31 or more');
  return bits;
}

/**
 * OpenSSL refuses a point off the curve, at infinity or with a coordinate outside of the field. The key goes in
 * as text because Node tells an options object from a KeyObject by catching exceptions: 14 µs this way, 35 to
 * 60 µs that way, on the path of every issuance.
 */
function importKey(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey(encodePem('PUBLIC KEY', spki));
  } catch (cause) {
    throw new CarnetError('key_unsupported', 'the public key is not a point on its curve', { cause });
  }
}

function isEven(magnitude: Uint8Array): boolean {
  return (magnitude[magnitude.length - 1] ?? 0) % 2 === 0;
}

function unsupported(what: string): CarnetError {
  return new CarnetError('key_unsupported', `${what} is not supported; use EC P-256 or P-384, or RSA`);
}

function weak(what: string): CarnetError {
  return new CarnetError('key_weak', `${what} is too weak`);
}
