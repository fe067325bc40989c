import { CarnetError, errorCodeOf } from '../../errors.ts';
import type { SpiffeId } from '../../identity/spiffe-id.ts';
import { equalBytes } from '../../x509/bytes.ts';
import { type Certificate, parseCertificate } from '../../x509/certificate.ts';
import { type PublicKey, parsePublicKey } from '../../x509/public-key.ts';
import { findSignatureAlgorithm, verifySignature } from '../../x509/signature-algorithm.ts';

/** What a certificate that we asked for has to be. */
export interface ExpectedChain {
  readonly identity: SpiffeId;
  /** SubjectPublicKeyInfo of our request, DER. */
  readonly spki: Uint8Array;
  /** Trusted now, DER. Not to be changed: what is trusted otherwise is another object. */
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
  const [first, ...issuers] = chain.length > MAX_CERTIFICATES ? [] : chain;
  if (first === undefined) throw refused(`it has ${chain.length} certificates, not 1 to ${MAX_CERTIFICATES}`);
  const leaf = parse(first);
  const uris = leaf.subjectAltName?.value.uris ?? [];
  if (uris.length !== 1 || uris[0] !== expected.identity)
    throw refused(`it is for ${uris.join(', ') || 'nobody'}, not for ${expected.identity}`);
  if (!equalBytes(leaf.spki, expected.spki)) throw refused('it is of another key than ours');
  if (leaf.basicConstraints?.value.ca === true) throw refused('it is of a CA');
  const issuer = await trustedIssuer(issuers, expected);
  if (issuer === null) await checkAnchor(leaf, expected);
  else await checkLink(leaf, issuer.certificate, expected.now, issuer.key);
  return leaf;
}

interface Issuer {
  readonly certificate: Certificate;
  readonly key: PublicKey;
}

/** CAs, lowest first, that lead to one of some roots. */
interface TrustedIssuers {
  readonly ders: readonly Uint8Array[];
  readonly lowest: Issuer;
  /** When the first of them ends, milliseconds since the epoch. */
  readonly until: number;
}

/** Those seen last, by the roots: leaf after leaf comes with the same, of which this is most of the verification. */
const lastSeen = new WeakMap<readonly Uint8Array[], TrustedIssuers>();

/** The lowest of the CAs, once all are known to lead to a root; null of none. */
async function trustedIssuer(
  ders: readonly Uint8Array[],
  expected: Pick<ExpectedChain, 'roots' | 'now'>,
): Promise<Issuer | null> {
  const { roots, now } = expected;
  const known = lastSeen.get(roots);
  if (known !== undefined && known.until > now && sameBytes(known.ders, ders)) return known.lowest;
  const issuers = ders.map(parse);
  const [first] = issuers;
  const highest = issuers.at(-1);
  if (first === undefined || highest === undefined) return null;
  for (const [i, issuer] of issuers.slice(1).entries()) await checkLink(issuers[i] ?? first, issuer, now);
  await checkAnchor(highest, expected);
  const until = Math.min(...issuers.map(({ notAfter }) => notAfter.getTime()));
  const lowest = { certificate: first, key: parsePublicKey(first.spki) };
  lastSeen.set(roots, { ders, lowest, until });
  return lowest;
}

function sameBytes(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((one, i) => equalBytes(one, b[i] ?? new Uint8Array()));
}

async function checkAnchor(
  last: Certificate,
  { roots, now }: Pick<ExpectedChain, 'roots' | 'now'>,
): Promise<void> {
  const issuer = roots.map(parse).find((root) => mayHaveIssued(root, last));
  if (issuer === undefined) throw refused('no root that we trust has issued it');
  await checkLink(last, issuer, now);
}

function mayHaveIssued(issuer: Certificate, certificate: Certificate): boolean {
  const [wanted, has] = [certificate.authorityKeyIdentifier?.value, issuer.subjectKeyIdentifier?.value];
  if (!equalBytes(certificate.issuer, issuer.subject)) return false;
  return wanted === undefined || has === undefined || equalBytes(wanted, has);
}

async function checkLink(
  certificate: Certificate,
  issuer: Certificate,
  now: number,
  key = parsePublicKey(issuer.spki),
): Promise<void> {
  if (certificate.notAfter.getTime() <= now) throw refused('a certificate in it has ended');
  if (!equalBytes(certificate.issuer, issuer.subject)) throw refused('its certificates are in no order');
  if (issuer.basicConstraints?.value.ca !== true) throw refused('it is issued by no CA');
  if (!(await isSignedBy(certificate, key))) throw refused("a signature in it is not its issuer's");
}

async function isSignedBy(certificate: Certificate, key: PublicKey): Promise<boolean> {
  const algorithm = findSignatureAlgorithm(certificate.outerSignatureAlgorithm);
  if (algorithm === undefined) return false;
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
