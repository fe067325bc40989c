import { CarnetError } from '../errors.ts';
import { DerReader } from '../x509/der-reader.ts';
import { TAG } from '../x509/der-tag.ts';
import { bitString, NULL, objectIdentifier, sequence, unsignedInteger } from '../x509/der-writer.ts';
import { OID } from '../x509/oid.ts';
import {
  type Attribute,
  encodeUlong,
  type Handle,
  isResult,
  type Pkcs11Call,
  Pkcs11Error,
  template,
} from './pkcs11-module.ts';
import type { KeyAlgorithm } from './signer.ts';

/** A session with a token, logged in. For one call at a time. */
export interface Pkcs11Session {
  readonly call: Pkcs11Call;
  readonly handle: Handle;
  readonly tokenLabel: string;
  /** Private keys found already, by their URIs. */
  readonly found: Map<string, Handle>;
}

/** A key pair's two objects. */
export interface KeyObjects {
  readonly privateKey: Handle;
  readonly publicKey: Handle;
}

// pkcs11t.h: attributes, classes and mechanisms.
export const CKA = {
  class: 0,
  token: 1,
  private: 2,
  label: 3,
  id: 0x102,
  sensitive: 0x103,
  sign: 0x108,
  verify: 0x10a,
  value: 0x11,
  modulus: 0x120,
  modulusBits: 0x121,
  publicExponent: 0x122,
  extractable: 0x162,
  neverExtractable: 0x164,
  alwaysSensitive: 0x165,
  ecParams: 0x180,
  ecPoint: 0x181,
} as const;
const CKR_OBJECT_HANDLE_INVALID = 0x82;
const PUBLIC_KEY = 2;
const PRIVATE_KEY = 3;
const CKM = { rsaGenerate: 0, ecGenerate: 0x1040, sha256Rsa: 0x40, ecdsa: 0x1041 } as const;
const YES = Uint8Array.of(1);
const NO = Uint8Array.of(0);
const F4 = Uint8Array.of(1, 0, 1);
/** More than any value that we read: an RSA modulus of 8192 bits. */
const MAX_VALUE_BYTES = 1024;
const MAX_SIGNATURE_BYTES = 1024;
const UNSUPPORTED: ReadonlySet<string> = new Set(['CKR_MECHANISM_INVALID', 'CKR_MECHANISM_PARAM_INVALID']);

const EC_CURVES = { 'ec-p256': OID.secp256r1, 'ec-p384': OID.secp384r1 } as const;
const RSA_BITS = { 'rsa-2048': 2048, 'rsa-3072': 3072, 'rsa-4096': 4096 } as const;

/**
 * Makes a key pair in the token, for good: sensitive and never extractable, which is read back. Throws
 * `key_unsupported` for an algorithm that the token does not have, or keys that it would let out.
 */
export async function generateKeyPair(
  session: Pkcs11Session,
  algorithm: KeyAlgorithm,
  id: Uint8Array,
  label: string,
): Promise<KeyObjects> {
  const { mechanism, parameters } = generation(algorithm);
  const names = [
    { type: CKA.token, value: YES },
    { type: CKA.id, value: id },
    { type: CKA.label, value: Buffer.from(label) },
  ];
  const publicTemplate = template([...names, { type: CKA.verify, value: YES }, ...parameters]);
  const privateTemplate = template([
    ...names,
    { type: CKA.private, value: YES },
    { type: CKA.sensitive, value: YES },
    { type: CKA.extractable, value: NO },
    { type: CKA.sign, value: YES },
  ]);
  const publicKey: [Handle | null] = [null];
  const privateKey: [Handle | null] = [null];
  try {
    await session.call(
      'C_GenerateKeyPair',
      session.handle,
      { mechanism, parameter: null, length: 0 },
      publicTemplate,
      publicTemplate.length,
      privateTemplate,
      privateTemplate.length,
      publicKey,
      privateKey,
    );
  } catch (error) {
    if (isResult(error, UNSUPPORTED))
      throw new CarnetError('key_unsupported', `token ${session.tokenLabel} makes no ${algorithm} keys`);
    throw error;
  }
  const objects = { publicKey: publicKey[0] ?? 0, privateKey: privateKey[0] ?? 0 };
  await refuseExtractable(session, objects);
  return objects;
}

/** Both must have held since the key was made, by the token's own word. */
async function refuseExtractable(session: Pkcs11Session, objects: KeyObjects): Promise<void> {
  for (const type of [CKA.alwaysSensitive, CKA.neverExtractable]) {
    const value = await readAttribute(session, objects.privateKey, type);
    if (value[0] === 1) continue;
    await destroyObjects(session, [objects.privateKey, objects.publicKey]);
    throw new CarnetError(
      'key_unsupported',
      `token ${session.tokenLabel} made a key that can be extracted; it is destroyed`,
    );
  }
}

/** The public key as SubjectPublicKeyInfo, DER; not yet checked. */
export async function readPublicKey(
  session: Pkcs11Session,
  publicKey: Handle,
  algorithm: KeyAlgorithm,
): Promise<Uint8Array> {
  if (isEc(algorithm)) {
    const point = await readAttribute(session, publicKey, CKA.ecPoint);
    const parameters = sequence(objectIdentifier(OID.ecPublicKey), objectIdentifier(EC_CURVES[algorithm]));
    return sequence(parameters, bitString(new DerReader(point).contents(TAG.octetString)));
  }
  const modulus = await readAttribute(session, publicKey, CKA.modulus);
  const exponent = await readAttribute(session, publicKey, CKA.publicExponent);
  const key = sequence(unsignedInteger(modulus), unsignedInteger(exponent));
  return sequence(sequence(objectIdentifier(OID.rsaEncryption), NULL), bitString(key));
}

/** Objects of a key pair by CKA_ID and label, private and public. */
export async function findKey(session: Pkcs11Session, id: Uint8Array, label: string): Promise<Handle[]> {
  return [
    ...(await findObjects(session, PRIVATE_KEY, id, label)),
    ...(await findObjects(session, PUBLIC_KEY, id, label)),
  ];
}

/** The private key alone. A token that is away may as well say that it has none: CKR_OBJECT_HANDLE_INVALID. */
export async function findPrivateKey(session: Pkcs11Session, id: Uint8Array, label: string): Promise<Handle> {
  const [found] = await findObjects(session, PRIVATE_KEY, id, label);
  if (found === undefined)
    throw new Pkcs11Error(`token ${session.tokenLabel} has no key ${label}`, CKR_OBJECT_HANDLE_INVALID);
  return found;
}

export async function relabel(
  session: Pkcs11Session,
  objects: readonly Handle[],
  label: string,
): Promise<void> {
  const attributes = template([{ type: CKA.label, value: Buffer.from(label) }]);
  for (const object of objects)
    await session.call('C_SetAttributeValue', session.handle, object, attributes, attributes.length);
}

export async function destroyObjects(session: Pkcs11Session, objects: readonly Handle[]): Promise<void> {
  for (const object of objects) await session.call('C_DestroyObject', session.handle, object);
}

/**
 * Signs: for EC the `input` is a digest and the signature r and s, each as long as the curve's field; for RSA the
 * input is the data and the signature PKCS#1 v1.5 with SHA-256.
 */
export async function signInToken(
  session: Pkcs11Session,
  privateKey: Handle,
  algorithm: KeyAlgorithm,
  input: Uint8Array,
): Promise<Uint8Array> {
  const mechanism = isEc(algorithm) ? CKM.ecdsa : CKM.sha256Rsa;
  await session.call('C_SignInit', session.handle, { mechanism, parameter: null, length: 0 }, privateKey);
  const signature = new Uint8Array(MAX_SIGNATURE_BYTES);
  const length: [number] = [MAX_SIGNATURE_BYTES];
  await session.call('C_Sign', session.handle, input, input.length, signature, length);
  return signature.slice(0, length[0]);
}

async function findObjects(
  { call, handle }: Pkcs11Session,
  objectClass: number,
  id: Uint8Array,
  label: string,
): Promise<Handle[]> {
  const wanted = template([
    { type: CKA.class, value: encodeUlong(objectClass) },
    { type: CKA.id, value: id },
    { type: CKA.label, value: Buffer.from(label) },
  ]);
  await call('C_FindObjectsInit', handle, wanted, wanted.length);
  const object: [Handle | null] = [null];
  const count: [number] = [0];
  try {
    await call('C_FindObjects', handle, object, 1, count);
  } finally {
    await call('C_FindObjectsFinal', handle);
  }
  return count[0] === 1 && object[0] !== null ? [object[0]] : [];
}

/** The value of an attribute, by its number. */
export async function readAttribute(
  { call, handle }: Pkcs11Session,
  object: Handle,
  type: number,
): Promise<Uint8Array> {
  const value = new Uint8Array(MAX_VALUE_BYTES);
  const [wanted] = template([{ type, value }]);
  const attributes = [wanted as { length: number | bigint }];
  await call('C_GetAttributeValue', handle, object, attributes, 1);
  return value.slice(0, Number(attributes[0]?.length ?? 0));
}

function generation(algorithm: KeyAlgorithm): { mechanism: number; parameters: Attribute[] } {
  if (isEc(algorithm)) {
    const curve = objectIdentifier(EC_CURVES[algorithm]);
    return { mechanism: CKM.ecGenerate, parameters: [{ type: CKA.ecParams, value: curve }] };
  }
  if (algorithm === 'ed25519')
    throw new CarnetError('key_unsupported', 'ed25519 keys are not made in hardware; use ec-p256');
  return {
    mechanism: CKM.rsaGenerate,
    parameters: [
      { type: CKA.modulusBits, value: encodeUlong(RSA_BITS[algorithm]) },
      { type: CKA.publicExponent, value: F4 },
    ],
  };
}

export function isEc(algorithm: KeyAlgorithm): algorithm is keyof typeof EC_CURVES {
  return algorithm in EC_CURVES;
}
