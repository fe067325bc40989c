import { CarnetError } from '../errors.ts';

/** Ours: JWT-SVID §3.2 recommends one, as each audience can pass itself off as the token's subject to the others. */
export const MAX_AUDIENCES = 8;
export const MAX_AUDIENCE_BYTES = 512;
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/** The audiences of a token to be made, without repeats, in their order. Throws `invalid_argument`. */
export function parseAudiences(audiences: readonly string[]): string[] {
  if (audiences.length === 0)
    throw new CarnetError('invalid_argument', 'no audience is given: a JWT-SVID is for somebody (§3.2)');
  if (audiences.length > MAX_AUDIENCES)
    throw new CarnetError(
      'invalid_argument',
      `${audiences.length} audiences are too many: ask for at most ${MAX_AUDIENCES}, better for one`,
    );
  for (const audience of audiences)
    if (audience === '' || Buffer.byteLength(audience) > MAX_AUDIENCE_BYTES || UNPRINTABLE.test(audience))
      throw new CarnetError(
        'invalid_argument',
        `the audience ${JSON.stringify(audience.slice(0, 100))} must have 1 to ${MAX_AUDIENCE_BYTES} bytes of printable text`,
      );
  return [...new Set(audiences)];
}
