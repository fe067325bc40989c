import { CarnetError, errorCodeOf } from '../errors.ts';
import { spiffeIdOf, type TrustDomain } from '../identity/spiffe-id.ts';
import { equalBytes } from '../x509/bytes.ts';
import { type Certificate, isEmptyName, parseCertificate } from '../x509/certificate.ts';
import { keyUsageBits } from '../x509/key-usage.ts';
import { OID } from '../x509/oid.ts';
import { isSignedBy } from '../x509/signed-by.ts';

/** What an outside CA answered to our request, checked. All DER. */
export interface UpstreamChain {
  readonly issuing: Certificate;
  /** From the issuing CA's issuer up to, and without, the root. */
  readonly intermediates: readonly Certificate[];
  readonly root: Certificate;
}

export interface ExpectedChain {
  /** SubjectPublicKeyInfo of our request, DER. */
  readonly spki: Uint8Array;
  readonly trustDomain: TrustDomain;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Ours, three intermediates and the root: every handshake carries all but the root. */
const MAX_CERTIFICATES = 5;

interface Link {
  readonly certificate: Certificate;
  /** The next one; of the root itself. */
  readonly issuer: Certificate;
  /** How many CAs stand below it. */
  readonly below: number;
}

/** One MUST of every certificate in the chain. */
const LINK_RULES: readonly { says: string; holds(link: Link, expected: ExpectedChain): boolean }[] = [
  {
    says: 'RFC 5280 §6.1.3: it is issued by the certificate that follows it, and the last one by itself',
    holds: ({ certificate, issuer }) => equalBytes(certificate.issuer, issuer.subject),
  },
  {
    says: 'RFC 5280 §4.1.1.2: both signature algorithm fields are the same',
    holds: ({ certificate }) =>
      equalBytes(certificate.signatureAlgorithm, certificate.outerSignatureAlgorithm),
  },
  {
    says: 'RFC 5280 §4.1.2.5: it is valid now',
    holds: ({ certificate }, { now }) =>
      certificate.notBefore.getTime() <= now && now < certificate.notAfter.getTime(),
  },
  {
    says: 'it does not outlive its issuer',
    holds: ({ certificate, issuer }) => certificate.notAfter <= issuer.notAfter,
  },
  {
    says: 'RFC 5280 §4.1.2.6: a CA has a subject',
    holds: ({ certificate }) => !isEmptyName(certificate.subject),
  },
  {
    says: 'RFC 5280 §4.2.1.9: basic constraints are critical and say CA',
    holds: ({ certificate: { basicConstraints } }) =>
      basicConstraints?.critical === true && basicConstraints.value.ca,
  },
  {
    says: 'RFC 5280 §4.2.1.9: its path length allows the CAs below it',
    holds: ({ certificate, below }) => (certificate.basicConstraints?.value.pathLength ?? below) >= below,
  },
  {
    says: 'RFC 5280 §4.2.1.3: key usage has keyCertSign',
    holds: ({ certificate }) => hasUsage(certificate, 'keyCertSign'),
  },
  {
    says: 'RFC 5280 §4.2.1.2: a CA has a subject key identifier',
    holds: ({ certificate }) => (certificate.subjectKeyIdentifier?.value.length ?? 0) > 0,
  },
  {
    says: 'X509-SVID §4.2: no name constraints, which validators of URI names do not agree on',
    holds: ({ certificate }) => !certificate.extensions.includes(OID.nameConstraints),
  },
  {
    says: 'X509-SVID §4.4: no extended key usage, or one for servers and clients',
    holds: ({ certificate: { extKeyUsage } }) =>
      extKeyUsage === undefined ||
      [OID.serverAuth, OID.clientAuth].every((usage) => extKeyUsage.value.includes(usage)),
  },
  {
    says: "X509-SVID §3.2: its URI name, if it has one, is the trust domain's",
    holds: ({ certificate: { subjectAltName } }, { trustDomain }) =>
      subjectAltName === undefined ||
      subjectAltName.value.uris.every((uri) => uri === spiffeIdOf(trustDomain, '')),
  },
];

/**
 * Checks the whole of a chain from our issuing CA to a self-signed root, in this order, DER each: our key, names,
 * signatures, validity, what each of them may do. Throws `invalid_argument` with everything that is wrong.
 */
export async function checkUpstreamChain(
  chain: readonly Uint8Array[],
  expected: ExpectedChain,
): Promise<UpstreamChain> {
  if (chain.length < 2 || chain.length > MAX_CERTIFICATES)
    throw refused([`give 2 to ${MAX_CERTIFICATES} certificates, ours first and the root last`]);
  const certificates = chain.map(readCertificate);
  const [issuing, root] = [certificates[0], certificates.at(-1)];
  if (issuing === undefined || root === undefined) throw refused(['it is empty']);
  if (!equalBytes(issuing.spki, expected.spki))
    throw refused(['the first certificate is not of the key of our request (carnet root csr)']);
  const broken: string[] = [];
  for (const [below, certificate] of certificates.entries()) {
    const link = { certificate, issuer: certificates[below + 1] ?? certificate, below };
    const breaks = LINK_RULES.filter((rule) => !rule.holds(link, expected)).map(({ says }) => says);
    if (!(await isSignedBy(certificate, link.issuer))) breaks.push("the signature is its issuer's");
    broken.push(...breaks.map((says) => `certificate ${below + 1}: ${says}`));
  }
  if (!issuing.subjectAltName?.value.uris.includes(spiffeIdOf(expected.trustDomain, '')))
    broken.push("certificate 1: X509-SVID §3.2: it has the trust domain's URI name, as the request asks");
  if (!hasUsage(issuing, 'cRLSign')) broken.push('certificate 1: key usage has cRLSign, for our CRLs');
  if (broken.length > 0) throw refused(broken);
  return { issuing, intermediates: certificates.slice(1, -1), root };
}

function readCertificate(der: Uint8Array, index: number): Certificate {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (errorCodeOf(error) !== 'der_malformed') throw error;
    throw refused([`certificate ${index + 1}: ${(error as Error).message}`]);
  }
}

function hasUsage({ keyUsage }: Certificate, usage: 'keyCertSign' | 'cRLSign'): boolean {
  return ((keyUsage?.value ?? 0) & keyUsageBits([usage])) !== 0;
}

function refused(broken: readonly string[]): CarnetError {
  return new CarnetError('invalid_argument', `the chain is not taken; it breaks: ${broken.join('; ')}`);
}
