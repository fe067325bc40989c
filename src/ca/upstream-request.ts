// Loads reflect-metadata, which @peculiar/x509 needs first.
import './provider.ts';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { toHex } from '../x509/bytes.ts';
import { TAG } from '../x509/der-tag.ts';
import { bitString, element, explicit, objectIdentifier, sequence } from '../x509/der-writer.ts';
import { OID } from '../x509/oid.ts';
import { keyIdentifier, parsePublicKey } from '../x509/public-key.ts';
import type { KeptKey, KeyStore } from './key-store.ts';
import { authoritySubject, ISSUING_CA } from './profile.ts';
import type { KeyAlgorithm, Signer } from './signer.ts';

/** A key of ours that waits for an outside CA to make an issuing CA of it. */
export interface UpstreamRequest extends KeptKey {
  /** The ID that the issuing CA will have. */
  readonly id: string;
  readonly keyAlgorithm: KeyAlgorithm;
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
}

const VERSION_1 = Uint8Array.of(0x02, 0x01, 0x00);

/** Makes the key of an issuing CA in `keys`, and the request for its certificate. Throws what `keys.generate` throws. */
export async function createUpstreamRequest(
  trustDomain: TrustDomain,
  keyAlgorithm: KeyAlgorithm,
  keys: KeyStore,
): Promise<UpstreamRequest> {
  const key = await keys.generate(keyAlgorithm);
  try {
    const { octets } = parsePublicKey(key.signer.publicKey);
    const keyName = toHex(keyIdentifier(octets).subarray(0, 4));
    const csr = await signRequest(trustDomain, keyName, key.signer);
    const id = `issuing-${keyName}`;
    return { id, keyAlgorithm, csr, ...(await key.keep(id)) };
  } catch (error) {
    await key.discard();
    throw error;
  }
}

/** A request (RFC 2986 §4) that asks for what an issuing CA of ours says; the outside CA has the last word. */
async function signRequest(trustDomain: TrustDomain, keyName: string, signer: Signer): Promise<Uint8Array> {
  const subject = new Name(authoritySubject(ISSUING_CA, trustDomain, keyName));
  const usages = ISSUING_CA.keyUsage.reduce((flags, usage) => flags | KeyUsageFlags[usage], 0);
  const extensions = [
    new BasicConstraintsExtension(true, ISSUING_CA.pathLength ?? undefined, true),
    new KeyUsagesExtension(usages, true),
    new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
  ].map(({ rawData }) => new Uint8Array(rawData));
  // RFC 2985 §5.4.2.
  const extensionRequest = sequence(
    objectIdentifier(OID.extensionRequest),
    element(TAG.set, sequence(...extensions)),
  );
  const info = sequence(
    VERSION_1,
    new Uint8Array(subject.toArrayBuffer()),
    signer.publicKey,
    explicit(0, extensionRequest),
  );
  return sequence(info, signer.signatureAlgorithm, bitString(await signer.sign(info)));
}
