import { randomBytes } from 'node:crypto';
import type { SigningAuthority } from '../../src/ca/authority.ts';
import { createIssuing, createRoot } from '../../src/ca/create-authority.ts';
import { nextCrl } from '../../src/ca/crl.ts';
import { X509_SVID } from '../../src/ca/profile.ts';
import { leafIssuer } from '../../src/ca/sign-leaf.ts';
import type { EndpointIdentity } from '../../src/federation/serve-bundle.ts';
import { encodeBundle } from '../../src/identity/bundle-document.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../src/identity/trust-bundle.ts';
import type { CrlEntry } from '../../src/x509/crl.ts';
import { encodeCertificate, encodeTbs } from '../../src/x509/leaf.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { SERIAL_BYTES } from '../../src/x509/serial.ts';
import { authorityRequest, DAY_SECONDS, KEYS } from '../ca/authorities.ts';
import { keyIdentifierOf } from '../x509/certificates.ts';
import { generateKeys, spkiOf } from '../x509/keys.ts';

/** A whole trust domain: a root, an issuing CA under it, and what they say. */
export interface Domain {
  readonly bundle: TrustBundle;
  /** As it would be published. */
  document(fields?: { sequence?: number; hint?: number }): string;
  /** Of the issuing CA, with these serials revoked, and of the root; PEM. */
  crls(revoked: readonly string[]): Promise<{ issuing: string; root: string }>;
  /** A leaf of any identity, also of other trust domains: past our lint, which would refuse those. */
  leaf(spiffeId: string, dnsNames?: readonly string[]): Promise<EndpointIdentity & { serial: string }>;
}

const LEAF_MS = 3_600_000;
const BACKDATE_SECONDS = 30;

export async function createDomain(name: string): Promise<Domain> {
  const trustDomain = parseTrustDomain(name);
  const request = authorityRequest({ trustDomain });
  const root = await createRoot({ ...request, ttlSeconds: 365 * DAY_SECONDS }, KEYS);
  const issuing = await createIssuing(root.signing, request, KEYS);
  const bundle: TrustBundle = {
    trustDomain,
    sequence: 1,
    x509Sequence: 1,
    x509Authorities: [root.signing.certificate],
    crls: [],
    jwtAuthorities: [],
  };
  const by = leafIssuer(issuing.signing, X509_SVID);
  return {
    bundle,
    document: ({ sequence = 1, hint = 300 } = {}) =>
      JSON.stringify(encodeBundle({ ...bundle, sequence }, hint)),
    crls: async (revoked) => {
      const entries = revoked.map((serial) => ({
        serial,
        revokedAt: new Date(),
        reason: 'keyCompromise' as const,
      }));
      const pem = async (authority: SigningAuthority, revoking: readonly CrlEntry[]): Promise<string> =>
        encodePem('X509 CRL', (await nextCrl(authority, null, revoking, Date.now(), BACKDATE_SECONDS)).crl);
      return { issuing: await pem(issuing.signing, entries), root: await pem(root.signing, []) };
    },
    leaf: async (spiffeId, dnsNames = []) => {
      const keys = generateKeys('ec-p256');
      const serial = randomBytes(SERIAL_BYTES);
      // Positive, and of one length.
      serial[0] = 0x11;
      const { notBefore } = issuing.stored;
      const tbs = encodeTbs(by.template, {
        serial,
        notBefore,
        notAfter: new Date(notBefore.getTime() + LEAF_MS),
        spki: spkiOf(keys),
        subjectKeyIdentifier: keyIdentifierOf(keys),
        spiffeId,
        dnsNames,
      });
      const leaf = encodeCertificate(by.template, tbs, await by.authority.signer.sign(tbs));
      return {
        serial: serial.toString('hex'),
        chain: [leaf, ...issuing.signing.chain].map((der) => encodePem('CERTIFICATE', der)).join(''),
        privateKey: keys.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      };
    },
  };
}
