import type { BinaryReader } from '@bufbuild/protobuf/wire';

/** A message, or null where the bytes are none of its type. (A bare null would end a stream.) */
export interface Decoded<T> {
  readonly message: T | null;
}

/** A decoder that never throws: what it throws, grpc-js would call a failure of our own. */
export function decoderOf<T>(type: {
  decode(input: BinaryReader | Uint8Array): T;
}): (bytes: Buffer) => Decoded<T> {
  return (bytes) => {
    try {
      return { message: type.decode(bytes) };
    } catch {
      return { message: null };
    }
  };
}
