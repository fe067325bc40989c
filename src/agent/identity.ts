import { CarnetError } from '../errors.ts';
import { pathOf, type SpiffeId, spiffeIdOf, type TrustDomain } from '../identity/spiffe-id.ts';

const AGENT_PATH = '/carnet/agent/';
const SERVER_PATH = '/carnet/server';
/** A host's name (RFC 1123 §2.1), in lower case; it is a segment of a SPIFFE ID's path too. */
const NODE_NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

/** The name of a node as its agent's identity has it. Throws `invalid_argument`. */
export function parseNodeName(text: string): string {
  if (!NODE_NAME.test(text) || text.includes('..'))
    throw new CarnetError(
      'invalid_argument',
      `${JSON.stringify(text.slice(0, 100))} is not a node's name: it must be 1 to 253 lower-case letters, digits, inner dashes and dots`,
    );
  return text;
}

/** `spiffe://<trust domain>/carnet/agent/<node>`: how servers know a node's agent. */
export function agentIdOf(trustDomain: TrustDomain, node: string): SpiffeId {
  return spiffeIdOf(trustDomain, `${AGENT_PATH}${node}`);
}

/** The node whose agent an identity is; null for any other identity. */
export function nodeOfAgentId(id: SpiffeId): string | null {
  const path = pathOf(id);
  return path.startsWith(AGENT_PATH) ? path.slice(AGENT_PATH.length) : null;
}

/** `spiffe://<trust domain>/carnet/server`: how agents know a server. */
export function serverIdOf(trustDomain: TrustDomain): SpiffeId {
  return spiffeIdOf(trustDomain, SERVER_PATH);
}
