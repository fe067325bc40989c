import { createHash } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { type ParsedBundle, parseBundle } from '../identity/bundle-document.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { parseCertificate } from '../x509/certificate.ts';
import type { AcceptedBundle, ForeignBundle } from './federation.ts';

/** Ours: some tens of roots with RSA keys. Every replica and every agent holds it, and each proxy that federates. */
export const MAX_DOCUMENT_BYTES = 256 * 1024;

/**
 * Judges what is given as the bundle of `trustDomain`, of which `live` is the last one (null: none, or it doesn't
 * matter). Nothing of our own trust domain passes: neither its name, nor a key of one of our roots. Throws
 * `invalid_argument`, and `conflict` for a sequence number that goes back (SPIFFE Federation §4.2).
 */
export function acceptBundle(
  document: string,
  trustDomain: TrustDomain,
  own: TrustBundle,
  live: Pick<ForeignBundle, 'sequence'> | null,
): AcceptedBundle {
  refuseOwn(trustDomain, own);
  if (Buffer.byteLength(document) > MAX_DOCUMENT_BYTES)
    throw invalid(trustDomain, `it is longer than ${MAX_DOCUMENT_BYTES} bytes`);
  const parsed = parseBundle(document);
  for (const root of parsed.x509Authorities) checkRoot(root, trustDomain, own);
  checkSequence(parsed, trustDomain, live);
  const { sequence, refreshHintSeconds } = parsed;
  const sha256 = createHash('sha256').update(document).digest('hex');
  return { sequence, refreshHintSeconds, document, sha256 };
}

/** Throws `invalid_argument` for our own trust domain: nobody else says what is trusted of it. */
export function refuseOwn(trustDomain: TrustDomain, own: Pick<TrustBundle, 'trustDomain'>): void {
  if (trustDomain === own.trustDomain)
    throw new CarnetError(
      'invalid_argument',
      `${trustDomain} is our own trust domain: what is trusted of it is never taken from others`,
    );
}

/**
 * What verifiers are given of an accepted bundle. It has no CRLs: the format has none. Throws `invalid_argument` where
 * another version of ours accepted what this one doesn't.
 */
export function trustBundleOf(trustDomain: TrustDomain, bundle: ForeignBundle): TrustBundle {
  const { x509Authorities, jwtAuthorities } = parseBundle(bundle.document);
  const { revision } = bundle;
  return {
    trustDomain,
    sequence: revision,
    x509Sequence: revision,
    x509Authorities,
    jwtAuthorities,
    crls: [],
  };
}

/** A root that names a trust domain names this one (X509-SVID §4.2). */
function checkRoot(der: Uint8Array, trustDomain: TrustDomain, own: TrustBundle): void {
  const { spki, subjectAltName } = readRoot(der, trustDomain);
  for (const uri of subjectAltName?.value.uris ?? [])
    if (uri.startsWith('spiffe://') && uri !== `spiffe://${trustDomain}`)
      throw invalid(trustDomain, `it holds a root of ${JSON.stringify(uri.slice(0, 300))}`);
  for (const ours of own.x509Authorities)
    if (Buffer.from(parseCertificate(ours).spki).equals(spki))
      throw invalid(trustDomain, 'it holds a root of our own');
}

function readRoot(der: Uint8Array, trustDomain: TrustDomain) {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw invalid(trustDomain, 'it holds a certificate that cannot be read', cause);
  }
}

/** The same number with other contents passes: some publishers never change it. */
function checkSequence(
  { sequence }: ParsedBundle,
  trustDomain: TrustDomain,
  live: Pick<ForeignBundle, 'sequence'> | null,
): void {
  const last = live?.sequence ?? null;
  if (last !== null && sequence !== null && sequence < last)
    throw new CarnetError(
      'conflict',
      `the bundle of ${trustDomain} has the sequence number ${sequence}, older than ${last}, which we have; ` +
        'if it was set back on purpose: carnet federation set-bundle',
    );
}

function invalid(trustDomain: TrustDomain, why: string, cause?: unknown): CarnetError {
  return new CarnetError('invalid_argument', `not a bundle of ${trustDomain}: ${why}`, { cause });
}
