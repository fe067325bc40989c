import { CarnetError } from '../errors.ts';
import { toHex } from '../x509/bytes.ts';

/** Where a key is, as RFC 7512 names objects in tokens. */
export interface KeyPlace {
  /** The token's label. */
  readonly token: string;
  /** The key's label: its authority's ID. */
  readonly object: string;
  /** CKA_ID. */
  readonly id: Uint8Array;
}

/** `pkcs11:token=…;object=…;id=%…;type=private`. */
export function encodeKeyUri({ token, object, id }: KeyPlace): string {
  const hex = toHex(id).replace(/../g, '%$&');
  return `pkcs11:token=${encodeURIComponent(token)};object=${encodeURIComponent(object)};id=${hex};type=private`;
}

/** Reads what {@link encodeKeyUri} wrote. Throws `invalid_argument`. */
export function parseKeyUri(uri: string): KeyPlace {
  const match = /^pkcs11:token=([^;]*);object=([^;]*);id=((?:%[0-9a-f]{2})+);type=private$/.exec(uri);
  if (match === null) throw new CarnetError('invalid_argument', `${uri} is no key's place in a token`);
  const [, token = '', object = '', id = ''] = match;
  return {
    token: decodeURIComponent(token),
    object: decodeURIComponent(object),
    id: Buffer.from(id.replaceAll('%', ''), 'hex'),
  };
}
