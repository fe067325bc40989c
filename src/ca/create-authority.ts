import { randomBytes } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { spiffeIdOf, type TrustDomain } from '../identity/spiffe-id.ts';
import { toHex } from '../x509/bytes.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { lintAuthority } from '../x509/lint-authority.ts';
import { keyIdentifier, parsePublicKey } from '../x509/public-key.ts';
import { SERIAL_BYTES } from '../x509/serial.ts';
import type { SigningAuthority } from './authority.ts';
import { signAuthorityCertificate } from './authority-certificate.ts';
import type { NewAuthority } from './authority-store.ts';
import { issuerLocations } from './issuer-locations.ts';
import type { KeyStore } from './key-store.ts';
import { type AuthorityProfile, ISSUING_CA, ROOT_CA } from './profile.ts';
import type { KeyAlgorithm, Signer } from './signer.ts';
import { tryAuthority } from './trial-leaf.ts';
import { validity } from './validity.ts';

export interface AuthorityRequest {
  readonly trustDomain: TrustDomain;
  readonly keyAlgorithm: KeyAlgorithm;
  readonly ttlSeconds: number;
  readonly backdateSeconds: number;
  /** Where the REST interface is seen from outside, for an issuing CA to say; by default it doesn't. */
  readonly publicUrl?: string | null;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** A new authority, `prepared`: as it is stored, and ready to sign. */
export interface CreatedAuthority {
  readonly stored: NewAuthority;
  readonly signing: SigningAuthority;
}

/**
 * Makes a self-signed root with a new key in `keys`. It has passed our lint and a trial leaf. Throws
 * `invalid_argument` for a lifetime that the profile does not allow, and what `keys.generate` throws.
 */
export async function createRoot(request: AuthorityRequest, keys: KeyStore): Promise<CreatedAuthority> {
  return createAuthority(ROOT_CA, null, request, keys);
}

/**
 * Makes an issuing CA under `root`, likewise; it never outlives its root. Throws `authority_unavailable` where
 * the root has not begun, has ended or ends too soon.
 */
export async function createIssuing(
  root: SigningAuthority,
  request: AuthorityRequest,
  keys: KeyStore,
): Promise<CreatedAuthority> {
  if (root.kind !== 'root')
    throw new CarnetError('invalid_argument', `authority ${root.id} is no root and signs no issuing CA`);
  return createAuthority(ISSUING_CA, root, request, keys);
}

/**
 * The new root's key and name certified by the old one, DER: a verifier that has not heard of the new root yet, and
 * that we cannot reach, builds its path through it (RFC 4210 §4.4, "new with old"). Ends with the first of the two.
 */
export async function crossSign(
  newRoot: SigningAuthority,
  oldRoot: SigningAuthority,
  trustDomain: TrustDomain,
): Promise<Uint8Array> {
  const notBefore = new Date(Math.max(newRoot.notBefore.getTime(), oldRoot.notBefore.getTime()));
  const notAfter = new Date(Math.min(newRoot.notAfter.getTime(), oldRoot.notAfter.getTime()));
  const { certificate } = await certify(ROOT_CA, oldRoot, { trustDomain }, newRoot.signer, {
    notBefore,
    notAfter,
  });
  return certificate;
}

async function createAuthority(
  profile: AuthorityProfile,
  parent: SigningAuthority | null,
  request: AuthorityRequest,
  keys: KeyStore,
): Promise<CreatedAuthority> {
  const { keyAlgorithm } = request;
  // 1. Decide how long it lives, before anything costs.
  const life = validity(profile.lifetime, request, parent);
  // 2. Make the key.
  const key = await keys.generate(keyAlgorithm);
  const { signer } = key;
  try {
    // 3. Build, sign and lint the certificate; all its names come from the key.
    const { keyName, certificate } = await certify(profile, parent, request, signer, life);
    const id = `${profile.kind}-${keyName}`;
    const parentId = parent?.id ?? id;
    const authority = { id, kind: profile.kind, state: 'prepared', parentId, certificate, ...life } as const;
    // 4. Let it sign once before anybody relies on it.
    const signing = { ...authority, signer, chain: parent === null ? [] : [certificate] };
    await tryAuthority(signing, request);
    // 5. Keep the key.
    const stored = {
      ...authority,
      keyAlgorithm,
      ...(await key.keep(id)),
      crossCertificate: null,
      intermediates: [],
    };
    return { signing, stored };
  } catch (error) {
    await key.discard();
    throw error;
  }
}

async function certify(
  profile: AuthorityProfile,
  parent: SigningAuthority | null,
  { trustDomain, publicUrl = null }: Pick<AuthorityRequest, 'trustDomain' | 'publicUrl'>,
  signer: Signer,
  life: { readonly notBefore: Date; readonly notAfter: Date },
): Promise<{ keyName: string; certificate: Uint8Array }> {
  const { spki, octets } = parsePublicKey(signer.publicKey);
  const subjectKeyIdentifier = keyIdentifier(octets);
  const keyName = toHex(subjectKeyIdentifier.subarray(0, 4));
  const locations = parent === null ? null : issuerLocations(profile, publicUrl, parent.id);
  const fields = { serial: randomBytes(SERIAL_BYTES), spki, subjectKeyIdentifier, locations, ...life };
  const issuer = parent === null ? null : parseCertificate(parent.certificate);
  const certificate = await signAuthorityCertificate(
    { ...fields, profile, trustDomain, keyName },
    issuer,
    parent?.signer ?? signer,
  );
  const issuerCertificate = issuer ?? parseCertificate(certificate);
  await lintAuthority(certificate, {
    ...fields,
    issuer: { certificate: issuerCertificate, publicKey: parsePublicKey(issuerCertificate.spki) },
    spiffeId: spiffeIdOf(trustDomain, ''),
    keyUsage: profile.keyUsage,
    pathLength: profile.pathLength,
  });
  return { keyName, certificate };
}
