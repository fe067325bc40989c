import { createHash, randomBytes } from 'node:crypto';
import { ROLES, type Role } from './role.ts';

/** `carnet_<role>_` so that a person and a secret scanner know it at sight, then 32 random bytes in base64url. */
const TOKEN_TEXT = new RegExp(`^carnet_(?:${ROLES.join('|')})_[A-Za-z0-9_-]{43}$`);
const SECRET_BYTES = 32;

/** Makes the text of a new bearer token. Only its holder ever has it: we keep {@link hashToken} of it. */
export function createTokenText(role: Role): string {
  return `carnet_${role}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
}

/** Whether the text has a token's form. The role in it is for people; what a token may do is on record. */
export function isTokenText(text: string): boolean {
  return TOKEN_TEXT.test(text);
}

/** SHA-256 of the whole text. The secret has 256 bits, so a plain hash is enough: there is nothing to guess. */
export function hashToken(text: string): Uint8Array {
  return createHash('sha256').update(text, 'utf8').digest();
}
