import { X509Certificate } from 'node:crypto';
import { connect as connectHttp2, constants, type IncomingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';
import { SpiffeWorkloadAPIService as SERVICE, X509SVIDResponse } from '../../src/gen/workload.ts';

/** What a workload was handed out. */
export interface ReceivedSvid {
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

export interface WorkloadStream {
  close(): void;
}

/** A gRPC message's prefix: not compressed, and the length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const PREFIX_BYTES = 5;
/** An X509SVIDRequest, which has no fields. */
const REQUEST = Buffer.alloc(PREFIX_BYTES);

/** As often as one that has nothing yet is told to try again: an agent lets nobody wait for more than some seconds. */
const TRIES = 10;
const UNAVAILABLE = 'gRPC status 14';

/**
 * A workload: a connection of its own with one FetchX509SVID. Calls `onSvid` with each message, and `onEnd` when the
 * stream ends by itself, unless it is told to try again before it had anything: then it does, as programs do.
 */
export function openWorkload(
  socket: string,
  onSvid: (svid: ReceivedSvid) => void,
  onEnd: (why: string) => void,
): WorkloadStream {
  let [tries, received] = [0, false];
  const open = (): WorkloadStream => {
    tries++;
    return openStream(
      socket,
      (svid) => {
        received = true;
        onSvid(svid);
      },
      (why) => {
        if (received || tries >= TRIES || !why.startsWith(UNAVAILABLE)) onEnd(why);
        else stream = open();
      },
    );
  };
  let stream = open();
  return { close: () => stream.close() };
}

/** HTTP/2 without a gRPC library, as in proxies.ts and for the same reason. */
function openStream(
  socket: string,
  onSvid: (svid: ReceivedSvid) => void,
  onEnd: (why: string) => void,
): WorkloadStream {
  let closing = false;
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) });
  const end = (why: string): void => {
    if (!closing) onEnd(why);
    closing = true;
    session.destroy();
  };
  session.on('error', (error) => end(error.message));
  const stream = session.request(
    {
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: SERVICE.fetchX509Svid.path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
      'workload.spiffe.io': 'true',
    },
    { endStream: false },
  );
  let status = 'the stream ended';
  stream.on('error', (error) => end(error.message));
  // A refusal has its status in the first headers, and no others.
  for (const event of ['response', 'trailers'] as const)
    stream.on(event, (headers: IncomingHttpHeaders) => {
      if (headers['grpc-status'] !== undefined)
        status = `gRPC status ${headers['grpc-status']}: ${headers['grpc-message']}`;
    });
  stream.on('close', () => end(status));
  stream.end(REQUEST);
  let received: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    while (received.length >= PREFIX_BYTES) {
      const next = PREFIX_BYTES + received.readUInt32BE(1);
      if (received.length < next) return;
      onSvid(parse(received.subarray(PREFIX_BYTES, next)));
      received = received.subarray(next);
    }
  });
  return {
    close: () => {
      closing = true;
      session.destroy();
    },
  };
}

function parse(message: Buffer): ReceivedSvid {
  const [svid] = X509SVIDResponse.decode(message).svids;
  if (svid === undefined) throw new Error('a message without an SVID');
  const { serialNumber, validToDate } = new X509Certificate(svid.x509Svid);
  return { serial: comparable(serialNumber), notAfter: validToDate.getTime() };
}

/** A serial in hex, as {@link ReceivedSvid} has it. */
export function comparable(serial: string): string {
  return serial.toLowerCase().replace(/^0+/, '');
}
