import { dnsNameFault } from '../policy/dns-name.ts';
import { type Certificate, isEmptyName } from './certificate.ts';
import { KEY_USAGE } from './key-usage.ts';
import { COMMON_RULES, type Expected, lint, type Rule } from './lint.ts';
import { OID } from './oid.ts';

/** What a leaf was meant to be. */
export interface ExpectedLeaf extends Expected {
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
}

const EXTENSIONS: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.extKeyUsage,
  OID.basicConstraints,
  OID.authorityKeyIdentifier,
  OID.subjectKeyIdentifier,
  OID.subjectAltName,
  OID.authorityInfoAccess,
  OID.crlDistributionPoints,
]);
const SPIFFE_ID_WITH_PATH = /^spiffe:\/\/[^/]+\/./;

const LEAF_RULES: readonly Rule<ExpectedLeaf>[] = [
  ...COMMON_RULES,
  {
    says: 'X509-SVID §2: exactly one URI name, the granted SPIFFE ID',
    holds: ({ subjectAltName }, { spiffeId }) =>
      subjectAltName?.value.uris.length === 1 && subjectAltName.value.uris[0] === spiffeId,
  },
  {
    says: 'X509-SVID §3.1: the SPIFFE ID has a path',
    holds: ({ subjectAltName }) =>
      subjectAltName?.value.uris.every((uri) => SPIFFE_ID_WITH_PATH.test(uri)) ?? false,
  },
  {
    says: "X509-SVID §3.2: the SPIFFE ID is in its issuer's trust domain",
    holds: ({ subjectAltName }, { issuer }) => {
      const [trustDomainId] = issuer.certificate.subjectAltName?.value.uris ?? [];
      return subjectAltName?.value.uris.every((uri) => uri.startsWith(`${trustDomainId}/`)) ?? false;
    },
  },
  {
    says: 'the DNS names are the granted ones, and there are no names of other types',
    holds: ({ subjectAltName }, { dnsNames }) =>
      subjectAltName?.value.others === 0 &&
      subjectAltName.value.dnsNames.length === dnsNames.length &&
      dnsNames.every((name, at) => subjectAltName.value.dnsNames[at] === name),
  },
  {
    says: 'RFC 5280 §4.2.1.6: DNS names are in the preferred name syntax',
    holds: ({ subjectAltName }) =>
      subjectAltName?.value.dnsNames.every((name) => dnsNameFault(name) === undefined) ?? false,
  },
  {
    says: 'X509-SVID §3.1, RFC 5280 §4.2.1.6: the alternative names are critical if and only if the subject is empty',
    holds: ({ subject, subjectAltName }) => subjectAltName?.critical === isEmptyName(subject),
  },
  {
    says: 'X509-SVID §4.3: key usage is critical and digitalSignature alone, not keyCertSign or cRLSign',
    holds: ({ keyUsage }) => keyUsage?.critical === true && keyUsage.value === KEY_USAGE.digitalSignature,
  },
  {
    says: 'X509-SVID §4.4: extended key usage is serverAuth and clientAuth',
    holds: ({ extKeyUsage }) =>
      extKeyUsage?.value.length === 2 &&
      extKeyUsage.value.includes(OID.serverAuth) &&
      extKeyUsage.value.includes(OID.clientAuth),
  },
  {
    says: 'X509-SVID §4.1: basic constraints are critical and say that it is no CA',
    holds: ({ basicConstraints }) =>
      basicConstraints?.critical === true &&
      !basicConstraints.value.ca &&
      basicConstraints.value.pathLength === null,
  },
  {
    says: 'no extension but those of an X509-SVID',
    holds: ({ extensions }) => extensions.every((id) => EXTENSIONS.has(id)),
  },
];

/** Lints a signed leaf before its release. Throws `certificate_lint_failed`. */
export function lintLeaf(der: Uint8Array, expected: ExpectedLeaf): Promise<Certificate> {
  return lint(der, LEAF_RULES, expected);
}
