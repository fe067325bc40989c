import type { IssuerLocations } from '../x509/issuer-locations.ts';
import type { AuthorityProfile, LeafProfile } from './profile.ts';

/**
 * Where `GET /crl/{authority}.crl` and `GET /ca/{authority}.cer` are seen from outside; null where the profile says
 * nothing of its issuer, or there is no such address.
 */
export function issuerLocations(
  { locatesIssuer }: LeafProfile | AuthorityProfile,
  publicUrl: string | null,
  issuerId: string,
): IssuerLocations | null {
  if (!locatesIssuer || publicUrl === null) return null;
  return { certificate: `${publicUrl}/ca/${issuerId}.cer`, crl: `${publicUrl}/crl/${issuerId}.crl` };
}
