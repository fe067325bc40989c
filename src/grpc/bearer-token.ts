import type { Metadata } from '@grpc/grpc-js';
import { CarnetError } from '../errors.ts';

/** Kubernetes' own tokens have some 1,500 characters. */
const MAX_TOKEN_CHARACTERS = 16_384;

/** The token in a call's `authorization: Bearer TOKEN` (RFC 6750 §2.1); null without one. Throws `unauthenticated`. */
export function bearerTokenOf(metadata: Metadata): string | null {
  const [value, ...more] = metadata.get('authorization');
  if (value === undefined) return null;
  const [, token] = /^bearer ([\w.~+/=-]+)\s*$/i.exec(String(value)) ?? [];
  if (token === undefined || more.length > 0 || token.length > MAX_TOKEN_CHARACTERS)
    throw new CarnetError(
      'unauthenticated',
      `the authorization must be one bearer token of at most ${MAX_TOKEN_CHARACTERS} characters`,
    );
  return token;
}
