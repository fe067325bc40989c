import { CarnetError } from '../../errors.ts';
import { parseJoinToken } from '../join-token-text.ts';
import type { NodeAttestor } from './node-attestor.ts';

/**
 * Attests by a join token, which is good for once. `read` is asked at each use: an operator who writes another token into
 * the file gets an agent back whose certificate ended while the servers were away.
 */
export function joinTokenAttestor(read: () => Promise<string>, source: string): NodeAttestor {
  let spent: string | null = null;
  return {
    method: 'join_token',
    claim: async () => {
      const token = parseJoinToken((await read()).trim());
      if (token.text === spent)
        throw new CarnetError(
          'attestation_failed',
          `this agent must be attested anew, and its join token ${token.id} is good for once: put another into ${source} (carnet join-token create)`,
        );
      return {
        payload: Buffer.from(token.text, 'utf8'),
        rootSha256: token.rootSha256,
        answer: null,
        onAnswered: () => {
          spent = token.text;
        },
      };
    },
  };
}
