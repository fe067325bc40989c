import { connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Node } from '../../src/gen/envoy/config/core/v3/base.ts';
import { Secret } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { DiscoveryRequest, DiscoveryResponse } from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { SecretDiscoveryServiceService as SERVICE } from '../../src/gen/envoy/service/secret/v3/sds.ts';

/**
 * The program that is all proxies of a benchmark, forked by fleet.ts. Each has a connection with one
 * state-of-the-world stream for `default` and `ROOTCA`, acknowledges what it gets, and begins as Envoy does, with a
 * request that names every extension it was built with. Ends with its parent.
 *
 * HTTP/2 without a gRPC library: 2,000 clients of grpc-js take twice as much CPU time (3.9 s instead of 1.8 s for
 * five pushes and five renewals), which here is the agent's.
 */

const NAMES = ['default', 'ROOTCA'];
const LENGTH_DELIMITED = 2;
/** A gRPC message's prefix: not compressed, and the length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const PREFIX_BYTES = 5;
/** What Envoy says of its extensions comes to some 40 KiB. */
const EXTENSIONS = 600;
const EXTENSIONS_FIELD = 9;

/** What its parent tells it. */
export type Message =
  | { readonly kind: 'connect'; readonly socket: string; readonly count: number }
  | { readonly kind: 'count'; readonly texts: readonly string[] };

/** The secrets that a proxy holds, encoded, by their names. */
type Secrets = Map<string, Buffer>;

function startProxy(socket: string, first: Buffer): Secrets {
  const secrets: Secrets = new Map();
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) });
  session.on('error', fail);
  const stream = session.request(
    {
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: SERVICE.streamSecrets.path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
    },
    { endStream: false },
  );
  stream.on('error', fail);
  stream.on('close', () => fail(new Error('a stream was ended')));
  stream.write(first);
  let received: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    while (received.length >= PREFIX_BYTES) {
      const end = PREFIX_BYTES + received.readUInt32BE(1);
      if (received.length < end) return;
      const response = DiscoveryResponse.decode(received.subarray(PREFIX_BYTES, end));
      // Copied: a view would keep all that came with it.
      for (const { value } of response.resources) secrets.set(Secret.decode(value).name, Buffer.from(value));
      stream.write(acknowledgement(response));
      received = received.subarray(end);
    }
  });
  return secrets;
}

function acknowledgement({ versionInfo, nonce }: DiscoveryResponse): Buffer {
  return framed(DiscoveryRequest.encode(request(versionInfo, nonce)).finish());
}

/** With the node, as Envoy is told to by `carnet envoy bootstrap`: in the first request only. */
function firstRequest(): Buffer {
  const node = Node.encode({
    id: 'bench',
    cluster: 'bench',
    metadata: undefined,
    userAgentName: 'envoy',
    userAgentVersionType: undefined,
  });
  for (let i = 0; i < EXTENSIONS; i++)
    node
      .tag(EXTENSIONS_FIELD, LENGTH_DELIMITED)
      .string(`envoy.filters.http.extension_${i} envoy.filters.http`.padEnd(64));
  const message = new BinaryWriter().tag(2, LENGTH_DELIMITED).bytes(node.finish());
  return framed(DiscoveryRequest.encode(request('', ''), message).finish());
}

function request(versionInfo: string, responseNonce: string): DiscoveryRequest {
  return {
    versionInfo,
    responseNonce,
    resourceNames: NAMES,
    typeUrl: '',
    node: undefined,
    errorDetail: undefined,
  };
}

function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return frame;
}

/** A proxy that fails would make every figure wrong. */
function fail(error: Error): never {
  process.stderr.write(`the proxies: ${error.message}\n`);
  process.exit(1);
}

const proxies: Secrets[] = [];

function take(message: Message): void {
  if (message.kind === 'connect') {
    const first = firstRequest();
    for (let i = 0; i < message.count; i++) proxies.push(startProxy(message.socket, first));
    return;
  }
  const holders = message.texts.map(
    (text) => proxies.filter((held) => [...held.values()].some((secret) => secret.includes(text))).length,
  );
  process.send?.(holders);
}

process.on('disconnect', () => process.exit(0));
process.on('message', take);
