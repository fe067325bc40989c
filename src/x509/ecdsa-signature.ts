import { CarnetError } from '../errors.ts';
import { concatBytes } from './bytes.ts';
import { DerReader } from './der-reader.ts';
import { TAG } from './der-tag.ts';

/**
 * An ECDSA-Sig-Value (DER, RFC 3279 §2.2.3) as r and s side by side, each of `size` octets, as JWS has it
 * (RFC 7518 §3.4). Throws `der_malformed`, also where one of them is larger.
 */
export function ecdsaSignatureOf(der: Uint8Array, size: number): Uint8Array {
  const outer = new DerReader(der);
  const fields = outer.enter(TAG.sequence);
  const [r, s] = [fields.unsigned(), fields.unsigned()];
  fields.end();
  outer.end();
  return concatBytes(padded(r, size), padded(s, size));
}

function padded(value: Uint8Array, size: number): Uint8Array {
  if (value.length > size)
    throw new CarnetError('der_malformed', `a number of ${value.length} octets is no part of this signature`);
  const bytes = new Uint8Array(size);
  bytes.set(value, size - value.length);
  return bytes;
}
