import { parseNodeName } from '../../agent/identity.ts';
import { CarnetError } from '../../errors.ts';

/**
 * A node's name of what attestation found, as it is: where that isn't a name, it isn't bent into one, which two nodes
 * could then share. Throws `attestation_failed`.
 */
export function nodeNameOf(method: string, prefix: string, found: string): string {
  try {
    return parseNodeName(prefix + found);
  } catch (cause) {
    throw new CarnetError('attestation_failed', `${method}: ${(cause as Error).message}`, { cause });
  }
}
