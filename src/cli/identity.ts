import { createHash, X509Certificate } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import type { Secret } from '../gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';

/** What an agent handed out, in PEM: the certificates leaf first, the key in PKCS#8, the roots that peers must chain to. */
export interface Identity {
  readonly svidPem: string;
  readonly keyPem: string;
  readonly bundlePem: string;
}

/** Takes the certificate and the bundle out of an SDS response; null while one of them is still missing. */
export function identityOf(secrets: readonly Secret[]): Identity | null {
  let svidPem = '';
  let keyPem = '';
  let bundlePem = '';
  for (const { type } of secrets) {
    if (type?.$case === 'tlsCertificate') {
      svidPem = textOf(type.value.certificateChain);
      keyPem = textOf(type.value.privateKey);
    } else if (type?.$case === 'validationContext') bundlePem = textOf(type.value.trustedCa);
  }
  return svidPem === '' || keyPem === '' || bundlePem === '' ? null : { svidPem, keyPem, bundlePem };
}

/** What can be said of an identity in public. Times are RFC 3339, hashes lower-case hex. */
export interface IdentityDescription {
  readonly spiffe_id: string;
  readonly serial: string;
  readonly not_before: string;
  readonly not_after: string;
  readonly dns_names: readonly string[];
  /** Leaf first. */
  readonly chain: readonly CertificateDescription[];
  readonly bundle: readonly CertificateDescription[];
}

export interface CertificateDescription {
  readonly subject: string;
  readonly issuer: string;
  readonly not_after: string;
  readonly sha256: string;
}

export function describeIdentity({ svidPem, bundlePem }: Identity): IdentityDescription {
  const chain = certificatesOf(svidPem);
  const [leaf] = chain;
  if (leaf === undefined) throw new CarnetError('internal', 'the agent sent an empty certificate chain');
  const names = (leaf.subjectAltName ?? '').split(', ');
  const namesOf = (type: string): string[] =>
    names.filter((name) => name.startsWith(`${type}:`)).map((name) => name.slice(type.length + 1));
  return {
    spiffe_id: namesOf('URI')[0] ?? '',
    serial: leaf.serialNumber.toLowerCase(),
    not_before: leaf.validFromDate.toISOString(),
    not_after: leaf.validToDate.toISOString(),
    dns_names: namesOf('DNS'),
    chain: chain.map(describeCertificate),
    bundle: certificatesOf(bundlePem).map(describeCertificate),
  };
}

function describeCertificate(certificate: X509Certificate): CertificateDescription {
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    not_after: certificate.validToDate.toISOString(),
    sha256: createHash('sha256').update(certificate.raw).digest('hex'),
  };
}

function certificatesOf(pem: string): X509Certificate[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []).map(
    (one) => new X509Certificate(one),
  );
}

/** An empty subject is right for a leaf: its name is the SPIFFE ID. */
function oneLine(name: string | undefined): string {
  return name === undefined || name === '' ? '' : name.split('\n').join(', ');
}

type DataSource = {
  specifier:
    | { $case: 'inlineBytes'; value: Uint8Array }
    | { $case: 'inlineString'; value: string }
    | undefined;
};

function textOf(source: DataSource | undefined): string {
  const specifier = source?.specifier;
  if (specifier === undefined) return '';
  return specifier.$case === 'inlineString'
    ? specifier.value
    : Buffer.from(specifier.value).toString('latin1');
}
