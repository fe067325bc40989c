import type { Endpoint, Federation, ForeignBundle } from '../federation/federation.ts';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.ts';

export interface FederationRow {
  readonly trust_domain: TrustDomain;
  readonly profile: Endpoint['profile'] | null;
  readonly endpoint_url: string | null;
  readonly endpoint_spiffe_id: SpiffeId | null;
  readonly document: string | null;
  readonly sha256: Buffer | null;
  readonly sequence: string | null;
  readonly refresh_hint_seconds: string | null;
  readonly revision: string | null;
  readonly changed_at: Date | null;
  readonly checked_at: Date | null;
  readonly next_refresh_at: Date | null;
  readonly failures: number;
  readonly problem: string | null;
  readonly created_at: Date;
}

export const FEDERATION_COLUMNS = `trust_domain, profile, endpoint_url, endpoint_spiffe_id, document, sha256, sequence,
  refresh_hint_seconds, revision, changed_at, checked_at, next_refresh_at, failures, problem, created_at`;

export function federationOf(row: FederationRow): Federation {
  return {
    trustDomain: row.trust_domain,
    endpoint: endpointOf(row),
    bundle: bundleOf(row),
    checkedAt: row.checked_at,
    nextRefreshAt: row.next_refresh_at,
    failures: row.failures,
    problem: row.problem,
    createdAt: row.created_at,
  };
}

export function bundleOf(row: FederationRow): ForeignBundle | null {
  const { document, sha256, revision, changed_at, sequence, refresh_hint_seconds } = row;
  if (document === null || sha256 === null || revision === null || changed_at === null) return null;
  return {
    document,
    sha256: sha256.toString('hex'),
    revision: Number(revision),
    sequence: sequence === null ? null : BigInt(sequence),
    refreshHintSeconds: refresh_hint_seconds === null ? null : Number(refresh_hint_seconds),
    changedAt: changed_at,
  };
}

function endpointOf({
  profile,
  endpoint_url: url,
  endpoint_spiffe_id: spiffeId,
}: FederationRow): Endpoint | null {
  if (profile === null || url === null) return null;
  if (profile === 'https_web') return { profile, url };
  return spiffeId === null ? null : { profile, url, spiffeId };
}
