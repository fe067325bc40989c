import { CarnetError, errorCodeOf } from '../../errors.ts';
import { hashJoinToken, parseJoinToken } from '../join-token-text.ts';
import type { JoinTokenStore } from './join-token-store.ts';
import type { NodeAttestor } from './node-attestor.ts';

/** Far more than a token has. */
const MAX_BYTES = 1024;

/**
 * Attests a node by a token that an operator made and carried there. It is used up by being shown, whatever comes of it:
 * who shows it again, or too late, gets `join_token_used` or `join_token_expired`.
 */
export function createJoinTokenAttestor(tokens: Pick<JoinTokenStore, 'use'>): NodeAttestor {
  return {
    method: 'join_token',
    attest: async (payload) => {
      const token = await tokens.use(hashJoinToken(textOf(payload)));
      return {
        name: token.node ?? `node-${token.id}`,
        selectors: token.selectors,
        evidence: { join_token: token.id, created_by: token.actor },
        reattestable: false,
      };
    },
  };
}

/** Text that is no token at all was never made here, and is told so in the same words. */
function textOf(payload: Uint8Array): string {
  try {
    if (payload.length > MAX_BYTES) throw unknown();
    return parseJoinToken(Buffer.from(payload).toString('utf8').trim()).text;
  } catch (error) {
    if (errorCodeOf(error) !== 'invalid_argument') throw error;
    throw unknown();
  }
}

function unknown(): CarnetError {
  return new CarnetError(
    'join_token_unknown',
    'no such join token was made here: make one with carnet join-token create',
  );
}
