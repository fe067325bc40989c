import { CarnetError, errorCodeOf } from '../errors.ts';
import { DerReader } from './der-reader.ts';
import { contextConstructed, TAG } from './der-tag.ts';
import { type PublicKey, parsePublicKey } from './public-key.ts';
import { findSignatureAlgorithm, verifySignature } from './signature-algorithm.ts';

/** Ten times what a request with an RSA-8192 key and a few extensions takes. */
export const MAX_CSR_BYTES = 16 * 1024;

/**
 * Parses a PKCS#10 request (RFC 2986 §4) strictly, verifies that it is signed by the key that it asks for, and
 * returns that key: everything else in it is checked for form and dropped. Throws `csr_malformed`,
 * `key_unsupported`, `key_weak`, `proof_of_possession_failed`.
 */
export async function parseCsr(der: Uint8Array): Promise<PublicKey> {
  const csr = readCsr(der);
  const algorithm = findSignatureAlgorithm(csr.signatureAlgorithm);
  if (algorithm === undefined || !algorithm.keyKinds.includes(csr.publicKey.kind))
    throw new CarnetError(
      'csr_malformed',
      'the request is signed by an algorithm that its key does not have or that is not accepted; use ECDSA, RSA (PKCS#1 v1.5) or Ed25519 with SHA-256 or better',
    );
  if (!(await verifySignature(algorithm, csr.publicKey, csr.signed, csr.signature)))
    throw new CarnetError(
      'proof_of_possession_failed',
      'the request is not signed by the private key of the public key in it',
    );
  return csr.publicKey;
}

/** The SubjectPublicKeyInfo (DER) in a request of our own: nothing is verified. Throws `csr_malformed`. */
export function csrSpki(der: Uint8Array): Uint8Array {
  return readCsr(der).publicKey.spki;
}

interface Csr {
  /** CertificationRequestInfo, whole: what the signature covers. */
  readonly signed: Uint8Array;
  readonly publicKey: PublicKey;
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
}

function readCsr(der: Uint8Array): Csr {
  if (der.length > MAX_CSR_BYTES)
    throw new CarnetError(
      'csr_malformed',
      `the request has ${der.length} bytes; at most ${MAX_CSR_BYTES} are read`,
    );
  try {
    const outer = new DerReader(der);
    const request = outer.enter(TAG.sequence);
    outer.end();
    const signed = request.element(TAG.sequence);
    const signatureAlgorithm = request.element(TAG.sequence);
    const signature = request.bitStringOctets();
    request.end();
    return { signed, publicKey: readInfo(signed), signatureAlgorithm, signature };
  } catch (error) {
    if (errorCodeOf(error) !== 'der_malformed') throw error;
    throw new CarnetError('csr_malformed', `the request is not PKCS#10: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** CertificationRequestInfo: version 0, subject, key, attributes. */
function readInfo(signed: Uint8Array): PublicKey {
  const info = new DerReader(signed).enter(TAG.sequence);
  if (info.smallInteger() !== 0) throw new CarnetError('csr_malformed', 'the request is not of version 1');
  checkName(info.enter(TAG.sequence));
  const spki = info.element(TAG.sequence);
  checkAttributes(info.enter(contextConstructed(0)));
  info.end();
  return parsePublicKey(spki);
}

/** RFC 5280 §4.1.2.4: a sequence of sets of one attribute or more, each a type and a value. */
function checkName(name: DerReader): void {
  while (!name.done) {
    const relativeName = name.enter(TAG.set);
    do {
      const attribute = relativeName.enter(TAG.sequence);
      attribute.objectIdentifier();
      attribute.skip();
      attribute.end();
    } while (!relativeName.done);
  }
}

/** RFC 2986 §4.1: each a type and a set of values, which may be of any type and are not looked into. */
function checkAttributes(attributes: DerReader): void {
  while (!attributes.done) {
    const attribute = attributes.enter(TAG.sequence);
    attribute.objectIdentifier();
    const values = attribute.enter(TAG.set);
    attribute.end();
    while (!values.done) values.skip();
  }
}
