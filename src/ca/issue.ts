import { hash, randomBytes } from 'node:crypto';
import { recordedEvidence } from '../attestation/recorded-evidence.ts';
import type { Issuance, Recorder } from '../audit/issuance.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import type { LeafFields } from '../x509/leaf.ts';
import { keyIdentifier, type PublicKey } from '../x509/public-key.ts';
import { SERIAL_BYTES, serialHex } from '../x509/serial.ts';
import type { SigningAuthority } from './authority.ts';
import type { Issue, IssuedSvid, IssueRequest } from './issue-request.ts';
import { proveKey } from './possession.ts';
import { type LeafProfile, X509_SVID } from './profile.ts';
import { type LeafIssuer, leafIssuer, signLeaf } from './sign-leaf.ts';
import { validity } from './validity.ts';

export interface IssueOptions {
  /** What the leaves are for: X509_SVID unless it says otherwise. */
  readonly profile?: LeafProfile;
  /**
   * The issuing CA that signs now: the same object while it is the same, so that what is prepared for it is kept.
   * Throws `authority_unavailable` while there is none.
   */
  readonly activeAuthority: () => SigningAuthority;
  readonly recorder: Recorder;
  readonly clock: Clock;
  /** For grants that name none. */
  readonly defaultTtlSeconds: number;
  readonly backdateSeconds: number;
  /** Where the REST interface is seen from outside, for leaves to say; by default they don't. */
  readonly publicUrl?: string | null;
}

/**
 * The way of one leaf, from a proved key to a recorded certificate. Nothing but the public key is taken from
 * the request, everything else from the grant and the profile, and nothing is returned that is not committed.
 * Throws `csr_malformed`, `proof_of_possession_failed`, `key_unsupported`, `key_weak`, `authority_unavailable`,
 * `certificate_lint_failed`, and what the recorder throws.
 */
export function createIssue(options: IssueOptions): Issue {
  const issuers = new WeakMap<SigningAuthority, LeafIssuer>();
  const { recorder, clock, backdateSeconds, profile = X509_SVID } = options;
  return async (request) => {
    // 1. The key, once its holder has proved to have the private half.
    const publicKey = await proveKey(request.csr);
    // 2. Only keys that the profile takes.
    checkKeyKind(publicKey, profile);
    // 3. How long it lives: what was granted, never longer than its issuer.
    const authority = options.activeAuthority();
    const ttlSeconds = request.grant.ttlSeconds ?? options.defaultTtlSeconds;
    const life = validity(profile.lifetime, { now: clock(), ttlSeconds, backdateSeconds }, authority);
    // 4. Build, sign and lint.
    const leaf = { ...leafFields(publicKey, request), ...life };
    const certificate = await signLeaf(
      issuerOf(authority, profile, issuers, options.publicUrl ?? null),
      leaf,
    );
    // 5. Record: this resolves when the row is committed.
    const issuance = issuanceOf(request, profile, authority, leaf, certificate);
    await recorder.record(issuance);
    // 6. Release.
    return issuedSvid(issuance, request, authority);
  };
}
function checkKeyKind({ kind }: PublicKey, { keyKinds }: LeafProfile): void {
  if (!keyKinds.includes(kind))
    throw new CarnetError(
      'key_unsupported',
      `a leaf cannot have an ${kind} key, which Envoy does not accept; use one of ${keyKinds.join(', ')}`,
    );
}

function leafFields(
  publicKey: PublicKey,
  { grant }: IssueRequest,
): Omit<LeafFields, 'notBefore' | 'notAfter'> {
  return {
    serial: randomBytes(SERIAL_BYTES),
    spki: publicKey.spki,
    subjectKeyIdentifier: keyIdentifier(publicKey.octets),
    spiffeId: grant.spiffeId,
    dnsNames: grant.dnsNames,
  };
}

function issuerOf(
  authority: SigningAuthority,
  profile: LeafProfile,
  issuers: WeakMap<SigningAuthority, LeafIssuer>,
  publicUrl: string | null,
): LeafIssuer {
  const known = issuers.get(authority);
  if (known !== undefined) return known;
  const made = leafIssuer(authority, profile, publicUrl);
  issuers.set(authority, made);
  return made;
}

function issuanceOf(
  { grant, attestation, node, requester }: IssueRequest,
  profile: LeafProfile,
  authority: SigningAuthority,
  leaf: LeafFields,
  certificate: Uint8Array,
): Issuance {
  return {
    serial: serialHex(leaf.serial),
    profile: profile.name,
    identity: grant.spiffeId,
    dnsNames: grant.dnsNames,
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    authority: authority.id,
    publicKeySha256: hash('sha256', leaf.spki, 'buffer'),
    certificateSha256: hash('sha256', certificate, 'buffer'),
    certificate,
    node,
    instance: attestation.instance,
    evidence: recordedEvidence(attestation),
    entryId: grant.entryId,
    entryVersion: grant.entryVersion,
    requester,
  };
}

function issuedSvid(issuance: Issuance, { grant }: IssueRequest, authority: SigningAuthority): IssuedSvid {
  return {
    identity: grant.spiffeId,
    serial: issuance.serial,
    chain: [issuance.certificate, ...authority.chain],
    notBefore: issuance.notBefore,
    notAfter: issuance.notAfter,
    authority: authority.id,
  };
}
