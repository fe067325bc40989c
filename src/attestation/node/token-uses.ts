import { CarnetError } from '../../errors.ts';

/** Which tokens were shown already, of those that are good for one attestation. */
export interface TokenUses {
  /** Whether this is the first use; it counts until `until` (milliseconds), when the token ends by itself. */
  isFirst(key: string, until: number): Promise<boolean>;
}

/** Ours: of tokens that have not ended. */
const MAX_REMEMBERED = 100_000;

/**
 * Remembers in memory: of several servers each knows its own, and a restart forgets. Throws `overloaded` where there
 * are too many to remember, so that none is forgotten before its time.
 */
export function rememberTokenUses(clock: () => number, maxRemembered = MAX_REMEMBERED): TokenUses {
  const ends = new Map<string, number>();
  return {
    isFirst: async (key, until) => {
      if (ends.has(key)) return false;
      if (ends.size >= maxRemembered) for (const [one, end] of ends) if (end < clock()) ends.delete(one);
      if (ends.size >= maxRemembered)
        throw new CarnetError('overloaded', `${maxRemembered} tokens were used, and have not ended yet`);
      ends.set(key, until);
      return true;
    },
  };
}
