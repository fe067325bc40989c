import type { ServerOptions } from '@grpc/grpc-js';

export interface SdsLimits {
  /** Streams and fetches open at once, of all callers. */
  readonly streams: number;
  /** Streams and fetches open at once, of one instance. Envoy opens a stream for each secret. */
  readonly streamsPerInstance: number;
  /** From a stream's opening to its first request. */
  readonly firstRequestMs: number;
  /** How long a fetch waits for the caller's first certificate. */
  readonly fetchWaitMs: number;
  /** From a call's end here to the end that its peer must then make of it. */
  readonly graceMs: number;
}

export const DEFAULT_LIMITS: SdsLimits = {
  streams: 20_000,
  streamsPerInstance: 200,
  firstRequestMs: 15_000,
  fetchWaitMs: 5_000,
  graceMs: 5_000,
};

/**
 * What a gRPC server that carries this service to untrusted callers should be made with. Node itself bounds a
 * call's headers (128 of them, 64 KiB together) and how often a connection may reset its streams (1,000 at
 * once, then 33 a second).
 */
export const SERVER_OPTIONS: ServerOptions = {
  // Envoy names every extension that it was built with in each request: some 60 KiB. Metadata comes on top.
  'grpc.max_receive_message_length': 256 * 1024,
  // Of one connection (SETTINGS_MAX_CONCURRENT_STREAMS). An Envoy with more secrets opens another connection.
  'grpc.max_concurrent_streams': 100,
  // A connection without a stream ends, also one that never says anything.
  'grpc.max_connection_idle_ms': 60_000,
  // A peer that is gone without a word is noticed.
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
  // Of one connection, in MB: header tables, queued frames, unsent data. Without it grpc-js sets no bound.
  'grpc-node.max_session_memory': 10,
};
