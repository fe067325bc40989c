import { createHash, randomBytes } from 'node:crypto';
import { CarnetError } from '../errors.ts';

/** What a join token says to the agent that is given it. */
export interface JoinToken {
  /** Names it in lists and history; no secret. */
  readonly id: string;
  /** The whole text, as the server is shown it. */
  readonly text: string;
  /**
   * SHA-256 (32 bytes each) of the root certificates, DER, that were trusted when it was made: how an agent that
   * knows nothing yet knows the server. After a root rotation that ended meanwhile none of them is any root's, and
   * the agent must be given another token.
   */
  readonly rootSha256: readonly Uint8Array[];
}

/** More roots than two are in a bundle only when rotations overlap. */
const MAX_ROOTS = 4;
const ID_BYTES = 8;
const SECRET_BYTES = 32;
/** `cnj1.<id, hex>.<secret>.<root>[.<root>…]`, the last parts in base64url. */
const TEXT = /^cnj1\.([0-9a-f]{16})\.[A-Za-z0-9_-]{43}((?:\.[A-Za-z0-9_-]{43}){1,4})$/;

/** Makes the text of a new token. Only its holder ever has it: servers keep {@link hashJoinToken} of it. */
export function createJoinToken(roots: readonly Uint8Array[]): JoinToken {
  const id = randomBytes(ID_BYTES).toString('hex');
  // The newest are the last: they stay the longest.
  const rootSha256 = roots.slice(-MAX_ROOTS).map((der) => createHash('sha256').update(der).digest());
  const parts = [randomBytes(SECRET_BYTES), ...rootSha256].map((part) => part.toString('base64url'));
  return { id, text: ['cnj1', id, ...parts].join('.'), rootSha256 };
}

/** Throws `invalid_argument`, without the text: it is a secret. */
export function parseJoinToken(text: string): JoinToken {
  const [, id, roots] = TEXT.exec(text) ?? [];
  if (id === undefined || roots === undefined)
    throw new CarnetError(
      'invalid_argument',
      'this is not a join token: it must be the whole of what carnet join-token create printed, cnj1.…',
    );
  return {
    id,
    text,
    rootSha256: roots
      .slice(1)
      .split('.')
      .map((part) => Buffer.from(part, 'base64url')),
  };
}

/** SHA-256 of the whole text. The secret has 256 bits, so a plain hash is enough: there is nothing to guess. */
export function hashJoinToken(text: string): Uint8Array {
  return createHash('sha256').update(text, 'utf8').digest();
}
