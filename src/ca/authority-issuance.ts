import { hash } from 'node:crypto';
import type { Issuance } from '../audit/issuance.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { serialHex } from '../x509/serial.ts';
import type { Authority } from './authority.ts';
import { ISSUING_CA, ROOT_CA } from './profile.ts';

/** A CA certificate as it is recorded, like every other issuance, before its first use. */
export function authorityIssuance(authority: Authority, requester: string): Issuance {
  const { serial, spki, subjectAltName } = parseCertificate(authority.certificate);
  return {
    serial: serialHex(serial),
    profile: (authority.kind === 'root' ? ROOT_CA : ISSUING_CA).name,
    identity: subjectAltName?.value.uris[0] ?? '',
    dnsNames: [],
    notBefore: authority.notBefore,
    notAfter: authority.notAfter,
    authority: authority.parentId,
    publicKeySha256: hash('sha256', spki, 'buffer'),
    certificateSha256: hash('sha256', authority.certificate, 'buffer'),
    certificate: authority.certificate,
    node: null,
    instance: null,
    evidence: null,
    entryId: null,
    entryVersion: null,
    requester,
  };
}
