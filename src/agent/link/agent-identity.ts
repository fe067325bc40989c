import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { AgentCertificate } from '../../gen/carnet/agent/v1/agent.ts';
import { parseSelector, type Selector } from '../../identity/selector.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import { buildCsr } from '../../x509/build-csr.ts';
import { csrSpki } from '../../x509/csr.ts';
import { agentIdOf, parseNodeName } from '../identity.ts';
import { checkChain } from './check-chain.ts';

/** Who this agent is to the servers: a certificate that its node's attestation earned, and its key. */
export interface AgentIdentity {
  readonly node: string;
  /** What the attestation showed of the node, besides what its agent finds out of each caller. */
  readonly selectors: readonly Selector[];
  readonly privateKey: KeyObject;
  /** Leaf first, then its issuers without the root. DER. */
  readonly chain: readonly Uint8Array[];
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A new key for the agent, and the request for its certificate. */
export interface AgentKey {
  readonly privateKey: KeyObject;
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
}

export function createAgentKey(): AgentKey {
  const keyPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey: keyPair.privateKey, csr: buildCsr(keyPair) };
}

/**
 * The identity that a server granted to `key`, checked against the trust bundle that came with it, or else against
 * `roots`. Throws `certificate_lint_failed`, `invalid_argument`.
 */
export async function acceptCertificate(
  message: AgentCertificate,
  key: AgentKey,
  { trustDomain, roots, now }: { trustDomain: TrustDomain; roots: readonly Uint8Array[]; now: number },
): Promise<AgentIdentity> {
  const leaf = await checkChain(message.chain, {
    identity: agentIdOf(trustDomain, parseNodeName(message.node)),
    spki: csrSpki(key.csr),
    roots: message.bundle?.x509Authorities ?? roots,
    now,
  });
  return {
    node: message.node,
    selectors: message.selectors.map(parseSelector),
    privateKey: key.privateKey,
    chain: message.chain,
    notBefore: leaf.notBefore.getTime(),
    notAfter: leaf.notAfter.getTime(),
  };
}
