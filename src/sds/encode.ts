import { Secret } from '../gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { Any } from '../gen/google/protobuf/any.ts';
import type { DeltaResponse } from './delta-reducer.ts';
import type { StreamResponse } from './stream-reducer.ts';

/** The one type of resource that the secret discovery service has. */
export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';

/** A Secret in the google.protobuf.Any in which both protocols carry it. */
export function encodeSecret(secret: Secret): Uint8Array {
  return Any.encode({ typeUrl: SECRET_TYPE, value: Secret.encode(secret).finish() }).finish();
}

/** A DiscoveryResponse. A bundle is encoded once for all proxies, and copied here: 0.9 µs, where encoding takes 3. */
export function encodeStreamResponse({ version, nonce, resources }: StreamResponse): Buffer {
  return Buffer.concat([
    ...text(1, version),
    ...resources.flatMap(({ encoded }) => field(2, encoded)),
    ...text(4, SECRET_TYPE),
    ...text(5, nonce),
  ]);
}

/** A DeltaDiscoveryResponse, likewise. */
export function encodeDeltaResponse({ nonce, resource, removed }: DeltaResponse): Buffer {
  return Buffer.concat([
    ...(resource === null
      ? []
      : field(2, ...text(3, resource.name), ...text(1, resource.version), ...field(2, resource.encoded))),
    ...text(4, SECRET_TYPE),
    ...removed.flatMap((name) => text(6, name)),
    ...text(5, nonce),
  ]);
}

function text(number: number, value: string): Uint8Array[] {
  return field(number, Buffer.from(value));
}

/** A length-delimited field of Protocol Buffers, in parts that are put together once, at the end. */
function field(number: number, ...value: readonly Uint8Array[]): Uint8Array[] {
  const header = [(number << 3) | 2];
  let length = value.reduce((sum, part) => sum + part.length, 0);
  for (; length > 0x7f; length >>>= 7) header.push((length & 0x7f) | 0x80);
  header.push(length);
  return [Buffer.from(header), ...value];
}
