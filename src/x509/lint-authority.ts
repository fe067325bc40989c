import { type Certificate, isEmptyName } from './certificate.ts';
import { type KeyUsage, keyUsageBits } from './key-usage.ts';
import { COMMON_RULES, type Expected, lint, type Rule } from './lint.ts';
import { OID } from './oid.ts';

/** What a CA certificate was meant to be. For a root, `issuer` is itself. */
export interface ExpectedAuthority extends Expected {
  /** `spiffe://<trust domain>`. */
  readonly spiffeId: string;
  readonly keyUsage: readonly KeyUsage[];
  /** Null where there must be none. */
  readonly pathLength: number | null;
}

const EXTENSIONS: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.basicConstraints,
  OID.authorityKeyIdentifier,
  OID.subjectKeyIdentifier,
  OID.subjectAltName,
  OID.authorityInfoAccess,
  OID.crlDistributionPoints,
]);

const AUTHORITY_RULES: readonly Rule<ExpectedAuthority>[] = [
  ...COMMON_RULES,
  {
    says: 'RFC 5280 §4.1.2.6: a CA has a subject',
    holds: ({ subject }) => !isEmptyName(subject),
  },
  {
    says: 'X509-SVID §3.2: its one name is its trust domain, without a path, and not critical beside a subject',
    holds: ({ subjectAltName }, { spiffeId }) =>
      subjectAltName?.critical === false &&
      subjectAltName.value.uris.length === 1 &&
      subjectAltName.value.uris[0] === spiffeId &&
      subjectAltName.value.dnsNames.length === 0 &&
      subjectAltName.value.others === 0,
  },
  {
    says: 'X509-SVID §4.1, RFC 5280 §4.2.1.9: basic constraints are critical, say CA, and bound the path as the profile does',
    holds: ({ basicConstraints }, { pathLength }) =>
      basicConstraints?.critical === true &&
      basicConstraints.value.ca &&
      basicConstraints.value.pathLength === pathLength,
  },
  {
    says: "X509-SVID §4.3: key usage is critical, has keyCertSign, and is the profile's",
    holds: ({ keyUsage }, expected) =>
      keyUsage?.critical === true && keyUsage.value === keyUsageBits(expected.keyUsage),
  },
  {
    says: 'no extension but those of a signing certificate',
    holds: ({ extensions }) => extensions.every((id) => EXTENSIONS.has(id)),
  },
];

/** Lints a signed CA certificate before its first use. Throws `certificate_lint_failed`. */
export function lintAuthority(der: Uint8Array, expected: ExpectedAuthority): Promise<Certificate> {
  return lint(der, AUTHORITY_RULES, expected);
}
