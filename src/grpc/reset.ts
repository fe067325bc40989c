import { constants, type ServerHttp2Stream } from 'node:http2';

/**
 * Resets the HTTP/2 stream of a call that has ended here, if its peer still keeps it open after `graceMs`.
 * grpc-js sends the status and leaves it at that: a peer that neither closes its side nor reads ours would keep
 * 17 KiB for each call (measured), also for refused ones. It has no public way to the stream, which its call
 * holds (grpc-js 1.14; test/sds/hostile.test.ts would notice another).
 */
export function resetIfKept(call: object, graceMs: number): void {
  const { stream } = (call as { call?: { stream?: ServerHttp2Stream } }).call ?? {};
  if (stream === undefined || stream.destroyed) return;
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), graceMs).unref();
  stream.once('close', () => clearTimeout(timer));
}
