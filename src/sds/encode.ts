import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Secret } from '../gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { Any } from '../gen/google/protobuf/any.ts';
import type { DeltaResponse } from './delta-reducer.ts';
import type { StreamResponse } from './stream-reducer.ts';

/** The one type of resource that the secret discovery service has. */
export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';

const LENGTH_DELIMITED = 2;

/** A Secret in the google.protobuf.Any in which both protocols carry it. */
export function encodeSecret(secret: Secret): Uint8Array {
  return Any.encode({ typeUrl: SECRET_TYPE, value: Secret.encode(secret).finish() }).finish();
}

/** A DiscoveryResponse. Its secrets are copied as they are: a bundle is encoded once for all proxies. */
export function encodeStreamResponse({ version, nonce, resources }: StreamResponse): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, LENGTH_DELIMITED).string(version);
  for (const { encoded } of resources) writer.tag(2, LENGTH_DELIMITED).bytes(encoded);
  writer.tag(4, LENGTH_DELIMITED).string(SECRET_TYPE);
  writer.tag(5, LENGTH_DELIMITED).string(nonce);
  return bufferOf(writer);
}

/** A DeltaDiscoveryResponse, likewise. */
export function encodeDeltaResponse({ nonce, resource, removed }: DeltaResponse): Buffer {
  const writer = new BinaryWriter();
  if (resource !== null) {
    writer.tag(2, LENGTH_DELIMITED).fork();
    writer.tag(3, LENGTH_DELIMITED).string(resource.name);
    writer.tag(1, LENGTH_DELIMITED).string(resource.version);
    writer.tag(2, LENGTH_DELIMITED).bytes(resource.encoded).join();
  }
  writer.tag(4, LENGTH_DELIMITED).string(SECRET_TYPE);
  for (const name of removed) writer.tag(6, LENGTH_DELIMITED).string(name);
  writer.tag(5, LENGTH_DELIMITED).string(nonce);
  return bufferOf(writer);
}

function bufferOf(writer: BinaryWriter): Buffer {
  const bytes = writer.finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
