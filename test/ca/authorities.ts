import { randomBytes } from 'node:crypto';
import { type AuthorityRequest, createIssuing, createRoot } from '../../src/ca/create-authority.ts';
import type { IssueRequest } from '../../src/ca/issue-request.ts';
import { parseKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import type { KeyAlgorithm } from '../../src/ca/signer.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { Grant } from '../../src/policy/entry.ts';
import { buildCsr } from '../../src/x509/build-csr.ts';
import type { KeyKind } from '../../src/x509/public-key.ts';
import type { KeyPair } from '../x509/keys.ts';

export const DAY_SECONDS = 86_400;
export const KEK = parseKeyEncryptionKey(randomBytes(32).toString('base64'));
export const KEYS = sealedKeyStore(KEK);

export function authorityRequest(changes: Partial<AuthorityRequest> = {}): AuthorityRequest {
  return {
    trustDomain: parseTrustDomain('carnet.test'),
    keyAlgorithm: 'ec-p256',
    ttlSeconds: 7 * DAY_SECONDS,
    backdateSeconds: 30,
    now: Date.now(),
    ...changes,
  };
}

/** A root of a year and an issuing CA of a week under it. */
export async function createAuthorities(
  keyAlgorithm: KeyAlgorithm,
  now = Date.now(),
  publicUrl: string | null = null,
) {
  const request = authorityRequest({ keyAlgorithm, now, publicUrl });
  const root = await createRoot({ ...request, ttlSeconds: 365 * DAY_SECONDS }, KEYS);
  const issuing = await createIssuing(root.signing, request, KEYS);
  return { root, issuing };
}

/** A request as an agent sends it, for the identity `spiffe://carnet.test/ns/default/sa/web`. */
export function issueRequest(
  keys: KeyPair,
  kind: KeyKind,
  grant: Partial<Grant> = {},
): IssueRequest & { readonly grant: Grant; readonly csr: Uint8Array } {
  return {
    csr: buildCsr(keys, kind),
    grant: {
      entryId: 'web',
      entryVersion: 3,
      spiffeId: parseSpiffeId('spiffe://carnet.test/ns/default/sa/web'),
      dnsNames: ['web.internal'],
      ttlSeconds: null,
      hint: null,
      federatesWith: [],
      ...grant,
    },
    attestation: { instance: 'container:0123456789ab', selectors: [], evidence: { uid: 1000 } },
    node: 'node-1',
    requester: 'agent:node-1',
  };
}
