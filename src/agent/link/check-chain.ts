import { CarnetError, errorCodeOf } from '../../errors.ts';
import type { SpiffeId } from '../../identity/spiffe-id.ts';
import { equalBytes } from '../../x509/bytes.ts';
import { type Certificate, parseCertificate } from '../../x509/certificate.ts';
import { parsePublicKey } from '../../x509/public-key.ts';
import { findSignatureAlgorithm, verifySignature } from '../../x509/signature-algorithm.ts';

/** What a certificate that we asked for has to be. */
export interface ExpectedChain {
  readonly identity: SpiffeId;
  /** SubjectPublicKeyInfo of our request, DER. */
  readonly spki: Uint8Array;
  /** Trusted now, DER. */
  readonly roots: readonly Uint8Array[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Ours: a leaf and up to four CAs below the root. */
const MAX_CERTIFICATES = 5;

/**
 * Checks what a server handed us, leaf first and without the root, DER each: our key, the identity that was asked for,
 * and signatures up to a root that we trust. An agent hands nothing on by a server's word alone. Returns the leaf.
 * Throws `certificate_lint_failed`.
 */
export async function checkChain(
  chain: readonly Uint8Array[],
  expected: ExpectedChain,
): Promise<Certificate> {
  const [leaf, ...issuers] = chain.length > MAX_CERTIFICATES ? [] : chain.map(parse);
  if (leaf === undefined) throw refused(`it has ${chain.length} certificates, not 1 to ${MAX_CERTIFICATES}`);
  const uris = leaf.subjectAltName?.value.uris ?? [];
  if (uris.length !== 1 || uris[0] !== expected.identity)
    throw refused(`it is for ${uris.join(', ') || 'nobody'}, not for ${expected.identity}`);
  if (!equalBytes(leaf.spki, expected.spki)) throw refused('it is of another key than ours');
  if (leaf.basicConstraints?.value.ca === true) throw refused('it is of a CA');
  let below = leaf;
  for (const issuer of issuers) {
    await checkLink(below, issuer, expected.now);
    below = issuer;
  }
  await checkAnchor(below, expected);
  return leaf;
}

async function checkAnchor(last: Certificate, { roots, now }: ExpectedChain): Promise<void> {
  const issuer = roots.map(parse).find((root) => mayHaveIssued(root, last));
  if (issuer === undefined) throw refused('no root that we trust has issued it');
  await checkLink(last, issuer, now);
}

function mayHaveIssued(issuer: Certificate, certificate: Certificate): boolean {
  const [wanted, has] = [certificate.authorityKeyIdentifier?.value, issuer.subjectKeyIdentifier?.value];
  if (!equalBytes(certificate.issuer, issuer.subject)) return false;
  return wanted === undefined || has === undefined || equalBytes(wanted, has);
}

async function checkLink(certificate: Certificate, issuer: Certificate, now: number): Promise<void> {
  if (certificate.notAfter.getTime() <= now) throw refused('a certificate in it has ended');
  if (!equalBytes(certificate.issuer, issuer.subject)) throw refused('its certificates are in no order');
  if (issuer.basicConstraints?.value.ca !== true) throw refused('it is issued by no CA');
  if (!(await isSignedBy(certificate, issuer))) throw refused("a signature in it is not its issuer's");
}

async function isSignedBy(certificate: Certificate, issuer: Certificate): Promise<boolean> {
  const algorithm = findSignatureAlgorithm(certificate.outerSignatureAlgorithm);
  if (algorithm === undefined) return false;
  const key = parsePublicKey(issuer.spki);
  return verifySignature(algorithm, key, certificate.tbs, certificate.signature);
}

function parse(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (errorCodeOf(error) !== 'der_malformed') throw error;
    throw refused((error as Error).message);
  }
}

function refused(why: string): CarnetError {
  return new CarnetError(
    'certificate_lint_failed',
    `the server sent a certificate that we don't take: ${why}`,
  );
}
