import { CarnetError, errorCodeOf } from '../../errors.ts';
import { equalBytes } from '../../x509/bytes.ts';
import { type Certificate, parseCertificate } from '../../x509/certificate.ts';
import { keyUsageBits } from '../../x509/key-usage.ts';
import { OID } from '../../x509/oid.ts';
import { isSignedBy } from '../../x509/signed-by.ts';

/** Ours: a machine, three intermediates and their root. */
export const MAX_CHAIN = 5;

/** What a machine showed, once it is known to be the CA's. */
export interface MachineChain {
  readonly machine: Certificate;
  /** From the machine's issuer up to the trusted CA. */
  readonly authorities: readonly Certificate[];
}

/** What we know how to judge. Whatever else is critical refuses its certificate (RFC 5280 §4.2), name constraints too. */
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.extKeyUsage,
  OID.basicConstraints,
  OID.subjectAltName,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
]);

interface Rule<T> {
  readonly says: string;
  holds(certificate: Certificate, context: T): boolean;
}

const EVERY_CERTIFICATE: readonly Rule<number>[] = [
  {
    says: 'RFC 5280 §4.1.1.2: both signature algorithm fields are the same',
    holds: ({ signatureAlgorithm, outerSignatureAlgorithm }) =>
      equalBytes(signatureAlgorithm, outerSignatureAlgorithm),
  },
  {
    says: 'RFC 5280 §4.1.2.5: it is valid now',
    holds: ({ notBefore, notAfter }, now) => notBefore.getTime() <= now && now <= notAfter.getTime(),
  },
  {
    says: 'RFC 5280 §4.2: no extension is there twice',
    holds: ({ extensions }) => new Set(extensions).size === extensions.length,
  },
  {
    says: 'RFC 5280 §4.2: no critical extension that is not known here (name constraints are none)',
    holds: ({ criticalExtensions }) => criticalExtensions.every((id) => KNOWN_EXTENSIONS.has(id)),
  },
];

const MACHINE: readonly Rule<null>[] = [
  {
    says: 'RFC 5280 §4.2.1.9: it is no CA',
    holds: ({ basicConstraints }) => basicConstraints?.value.ca !== true,
  },
  {
    says: 'RFC 5280 §4.2.1.3: key usage, if there is one, has digitalSignature',
    holds: ({ keyUsage }) =>
      keyUsage === undefined || (keyUsage.value & keyUsageBits(['digitalSignature'])) !== 0,
  },
  {
    says: 'RFC 5280 §4.2.1.12: extended key usage, if there is one, has clientAuth',
    holds: ({ extKeyUsage }) =>
      extKeyUsage === undefined ||
      [OID.clientAuth, OID.anyExtendedKeyUsage].some((usage) => extKeyUsage.value.includes(usage)),
  },
];

/** `context` is how many CAs stand below it. */
const AUTHORITY: readonly Rule<number>[] = [
  {
    says: 'RFC 5280 §4.2.1.9: its basic constraints say CA',
    holds: ({ basicConstraints }) => basicConstraints?.value.ca === true,
  },
  {
    says: 'RFC 5280 §4.2.1.9: its path length allows the CAs below it',
    holds: ({ basicConstraints }, below) => (basicConstraints?.value.pathLength ?? below) >= below,
  },
  {
    says: 'RFC 5280 §4.2.1.3: key usage has keyCertSign',
    holds: ({ keyUsage }) => ((keyUsage?.value ?? 0) & keyUsageBits(['keyCertSign'])) !== 0,
  },
  {
    says: 'RFC 5280 §4.2.1.10: no name constraints, which are not judged here',
    holds: ({ extensions }) => !extensions.includes(OID.nameConstraints),
  },
];

/**
 * Validates the path from a machine's certificate to one of the trusted CAs (RFC 5280 §6): `chain` is DER, the
 * machine's first, each issued by the next; the trusted CA at its end may be left out. `now` is in milliseconds.
 * Whether the machine has the key is another question. Throws `attestation_failed` with everything that is wrong.
 */
export async function verifyMachineChain(
  chain: readonly Uint8Array[],
  trusted: readonly Certificate[],
  now: number,
): Promise<MachineChain> {
  if (chain.length === 0 || chain.length > MAX_CHAIN)
    throw refused([`it has ${chain.length} certificates, and 1 to ${MAX_CHAIN} are taken`]);
  const shown = chain.map(readShown);
  const [machine] = shown;
  const last = shown.at(-1);
  if (machine === undefined || last === undefined) throw refused(['it is empty']);
  if (trusted.some(({ der }) => equalBytes(der, machine.der)))
    throw refused(['the first certificate is the CA itself, and no machine']);
  const anchor = trusted.find(({ der }) => equalBytes(der, last.der)) ?? (await issuerAmong(trusted, last));
  if (anchor === undefined)
    throw refused([`none of the ${trusted.length} trusted CAs issued certificate ${shown.length}`]);
  const path = equalBytes(anchor.der, last.der) ? shown : [...shown, anchor];
  const authorities = path.slice(1);
  const broken = [
    ...path.flatMap((one, i) => breaksOf(one, i, EVERY_CERTIFICATE, now)),
    ...breaksOf(machine, 0, MACHINE, null),
    ...authorities.flatMap((one, below) => breaksOf(one, below + 1, AUTHORITY, below)),
    ...(await unlinked(path)),
  ];
  if (broken.length > 0) throw refused(broken);
  return { machine, authorities };
}

async function issuerAmong(
  trusted: readonly Certificate[],
  certificate: Certificate,
): Promise<Certificate | undefined> {
  for (const authority of trusted)
    if (equalBytes(authority.subject, certificate.issuer) && (await isSignedBy(certificate, authority)))
      return authority;
  return undefined;
}

/** Where the path has a gap: RFC 5280 §6.1.3 (a)(1) and (4). */
async function unlinked(path: readonly Certificate[]): Promise<string[]> {
  const broken: string[] = [];
  for (const [i, certificate] of path.slice(0, -1).entries()) {
    const issuer = path[i + 1];
    if (issuer === undefined || !equalBytes(certificate.issuer, issuer.subject))
      broken.push(`certificate ${i + 1}: its issuer is not the certificate that follows`);
    else if (!(await isSignedBy(certificate, issuer)))
      broken.push(`certificate ${i + 1}: its signature is not by the key of the certificate that follows`);
  }
  return broken;
}

function breaksOf<T>(
  certificate: Certificate,
  index: number,
  rules: readonly Rule<T>[],
  context: T,
): string[] {
  return rules
    .filter((rule) => !rule.holds(certificate, context))
    .map(({ says }) => `certificate ${index + 1}: ${says}`);
}

function readShown(der: Uint8Array, index: number): Certificate {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (errorCodeOf(error) !== 'der_malformed') throw error;
    throw refused([`certificate ${index + 1}: ${(error as Error).message}`]);
  }
}

function refused(broken: readonly string[]): CarnetError {
  return new CarnetError(
    'attestation_failed',
    `x509pop: the machine's certificate chain is not taken: ${broken.join('; ')}`,
  );
}
