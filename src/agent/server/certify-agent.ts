import type { Issue } from '../../ca/issue-request.ts';
import type { AgentCertificate } from '../../gen/carnet/agent/v1/agent.ts';
import type { Selector } from '../../identity/selector.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import type { TrustBundle } from '../../identity/trust-bundle.ts';
import { agentIdOf } from '../identity.ts';
import type { AgentCredential } from './agent-store.ts';
import { bundleMessage } from './encode-bundle.ts';

/** A node that is known, and the key that its agent will be known by. */
export interface CertifiedNode {
  readonly node: string;
  readonly selectors: readonly Selector[];
  readonly evidence: Readonly<Record<string, unknown>>;
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
}

export interface CertifyOptions {
  readonly trustDomain: TrustDomain;
  /** Under the profile `agent`. */
  readonly issue: Issue;
  readonly bundle: () => TrustBundle;
}

/**
 * Issues an agent's own certificate: on record in history first, then by `store` as the agent's; only then released.
 * Throws what issuing and `store` throw.
 */
export async function certifyAgent(
  { node, selectors, evidence, csr }: CertifiedNode,
  { trustDomain, issue, bundle }: CertifyOptions,
  store: (credential: AgentCredential) => Promise<void>,
): Promise<AgentCertificate> {
  const requester = `agent:${node}`;
  const { chain, serial, notAfter } = await issue({
    csr,
    grant: {
      entryId: null,
      entryVersion: null,
      spiffeId: agentIdOf(trustDomain, node),
      dnsNames: [],
      ttlSeconds: null,
    },
    attestation: { instance: requester, selectors, evidence },
    node,
    requester,
  });
  await store({ serial, expiresAt: notAfter });
  return { chain: [...chain], bundle: bundleMessage(bundle()), node, selectors: [...selectors] };
}
