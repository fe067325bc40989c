import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { spiffeIdOf, type TrustDomain } from '../identity/spiffe-id.ts';
import { keyIdentifier, parsePublicKey } from '../x509/public-key.ts';
import { SERIAL_BYTES } from '../x509/serial.ts';
import type { SigningAuthority } from './authority.ts';
import { X509_SVID } from './profile.ts';
import { leafIssuer, signLeaf } from './sign-leaf.ts';

/**
 * Signs a throwaway leaf and verifies it by our own lint and by OpenSSL's eyes (Node's X509Certificate), so
 * that no authority is used whose key, certificate and encoder do not fit together. The leaf lives for the
 * first second of the authority's own, backdated, life; neither it nor its key leaves this function. Throws
 * `certificate_lint_failed`.
 */
export async function tryAuthority(
  authority: SigningAuthority,
  {
    trustDomain,
    publicUrl = null,
  }: { readonly trustDomain: TrustDomain; readonly publicUrl?: string | null },
): Promise<void> {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { spki, octets } = parsePublicKey(publicKey.export({ format: 'der', type: 'spki' }));
  const der = await signLeaf(leafIssuer(authority, X509_SVID, publicUrl), {
    serial: randomBytes(SERIAL_BYTES),
    notBefore: authority.notBefore,
    notAfter: new Date(authority.notBefore.getTime() + 1000),
    spki,
    subjectKeyIdentifier: keyIdentifier(octets),
    spiffeId: spiffeIdOf(trustDomain, '/carnet/trial'),
    dnsNames: [],
  });
  const leaf = new X509Certificate(der);
  const issuer = new X509Certificate(authority.certificate);
  if (!leaf.checkIssued(issuer) || !leaf.verify(issuer.publicKey))
    throw new CarnetError(
      'certificate_lint_failed',
      `authority ${authority.id} does not verify the trial leaf that it signed; it is not used`,
    );
}
