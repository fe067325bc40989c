import type { Attestation } from '../../attestation/attestation.ts';
import { CarnetError } from '../../errors.ts';
import type { Wanted } from '../../gen/carnet/agent/v1/agent.ts';
import { parseSelector } from '../../identity/selector.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import type { AdmittedAgent } from './agent-gate.ts';
import { isOfNode } from './node-state.ts';

/** As attestation makes them: `container:<id>`, `process:…`, `pod:…`. */
const INSTANCE = /^([a-z][a-z0-9-]*):[\x21-\x7e]+$/;
/** What our own parts are called on record. */
const OWN = new Set(['agent', 'server', 'operator', 'schedule', 'kubernetes']);

/** By a certificate that a caller proves to the server itself (svid-callers.ts): no agent has the word for it. */
const BY_CERTIFICATE = /^spiffe:/;

/**
 * What an agent says of a workload, as the server takes it: the agent's word for the workload, and our own for the node,
 * whose selectors no agent chooses. Throws `invalid_argument`, `selector_invalid`, `too_large`.
 */
export function parseWorkload(
  { instance, selectors, evidence }: Pick<Wanted, 'instance' | 'selectors' | 'evidence'>,
  agent: AdmittedAgent,
): Attestation {
  const [, kind = 'agent'] = INSTANCE.exec(instance) ?? [];
  if (OWN.has(kind) || instance.length > LINK_LIMITS.instanceBytes)
    throw new CarnetError(
      'invalid_argument',
      `${JSON.stringify(instance.slice(0, 100))} is not an instance of a workload`,
    );
  if (selectors.length > LINK_LIMITS.selectors)
    throw new CarnetError(
      'too_large',
      `a workload with ${selectors.length} selectors, more than ${LINK_LIMITS.selectors}`,
    );
  const ofWorkload = selectors
    .map(parseSelector)
    .filter((selector) => !isOfNode(selector) && !BY_CERTIFICATE.test(selector));
  return {
    instance,
    selectors: [...new Set([...ofWorkload, ...agent.selectors])].sort(),
    evidence: { ...parseEvidence(evidence), agent_serial: agent.serial },
  };
}

function parseEvidence(text: string): Record<string, unknown> {
  if (Buffer.byteLength(text) > LINK_LIMITS.evidenceBytes)
    throw new CarnetError('too_large', `evidence of more than ${LINK_LIMITS.evidenceBytes} bytes`);
  let evidence: unknown;
  try {
    evidence = JSON.parse(text);
  } catch (cause) {
    throw new CarnetError('invalid_argument', 'the evidence is not JSON', { cause });
  }
  if (typeof evidence !== 'object' || evidence === null || Array.isArray(evidence))
    throw new CarnetError('invalid_argument', 'the evidence is not a JSON object');
  return evidence as Record<string, unknown>;
}
