import type { ServiceError } from '@grpc/grpc-js';
import { CarnetError, errorCodeOf, isRetryable } from '../../errors.ts';
import {
  type AgentCertificate,
  type AttestResponse,
  NodeAttestationClient,
} from '../../gen/carnet/agent/v1/agent.ts';
import { carnetErrorOf } from '../../grpc/error-code.ts';
import type { AgentKey } from './agent-identity.ts';
import { channelOptions, type ServerTrust, serverCredentials } from './channel.ts';
import type { NodeAttestor, NodeClaim } from './node-attestor.ts';

/** Ours: the server may ask a cluster's API about a token, and its database. */
const TIMEOUT_MS = 30_000;

/**
 * Proves to a server who this node is, and has the agent's key certified. Throws `attestation_failed` for a refusal, with
 * the server's words, and retryable errors where nothing was decided.
 */
export async function attestNode(
  address: string,
  trust: ServerTrust,
  { method }: NodeAttestor,
  claim: NodeClaim,
  { csr }: AgentKey,
): Promise<AgentCertificate> {
  const client = new NodeAttestationClient(address, serverCredentials(trust, null), channelOptions(trust));
  try {
    const stream = client.attest({ deadline: Date.now() + TIMEOUT_MS });
    stream.write({ step: { $case: 'claim', value: { method, payload: claim.payload, csr } } });
    const certificate = await new Promise<AgentCertificate>((resolve, reject) => {
      stream.on('error', (error: ServiceError) => reject(refusalOf(error, method)));
      stream.on('end', () => reject(new CarnetError('unavailable', 'the server ended the attestation')));
      stream.on('data', ({ step }: AttestResponse) => {
        if (step?.$case === 'certificate') return resolve(step.value);
        if (step?.$case === 'challenge' && claim.answer !== null)
          stream.write({ step: { $case: 'challengeAnswer', value: claim.answer(step.value) } });
        else reject(new CarnetError('unavailable', `the server asks for what ${method} has not`));
      });
    });
    stream.end();
    claim.onAnswered();
    return certificate;
  } catch (error) {
    if (errorCodeOf(error) === 'attestation_failed') claim.onAnswered();
    throw error;
  } finally {
    client.close();
  }
}

function refusalOf(error: ServiceError, method: string): CarnetError {
  const said = carnetErrorOf(error);
  if (isRetryable(said)) return said;
  return new CarnetError(
    'attestation_failed',
    `this node is refused (${method}, ${said.code}): ${said.message}`,
    {
      cause: said,
    },
  );
}
