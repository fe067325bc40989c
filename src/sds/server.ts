import type { Server, ServerDuplexStream, ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import type { Holder } from '../delivery/holdings.ts';
import type { StreamObserver } from '../delivery/observer.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import { DeltaDiscoveryRequest, DiscoveryRequest } from '../gen/envoy/service/discovery/v3/discovery.ts';
import { SecretDiscoveryServiceService as SERVICE } from '../gen/envoy/service/secret/v3/sds.ts';
import { Places } from '../grpc/places.ts';
import { resetIfKept } from '../grpc/reset.ts';
import { statusOf } from '../grpc/status.ts';
import type { Logger } from '../log.ts';
import { type DeltaResponse, INITIAL_DELTA, reduceDelta } from './delta-reducer.ts';
import { encodeDeltaResponse, encodeStreamResponse } from './encode.ts';
import { fetchResources } from './fetch.ts';
import { DEFAULT_LIMITS, type SdsLimits } from './limits.ts';
import type { SdsMetrics } from './metrics.ts';
import { parseDeltaRequest, parseStreamRequest } from './request.ts';
import { type Resource, versionOf } from './resource.ts';
import { type AnyState, type SecretCall, SecretStream, type Variant } from './secret-stream.ts';
import { INITIAL_STREAM, reduceStream, type StreamResponse } from './stream-reducer.ts';

/** Any call of this service, for finding out whose it is. */
export type CallerCall = ServerDuplexStream<unknown, unknown> | ServerUnaryCall<unknown, unknown>;

export interface SecretDiscoveryOptions {
  /** Whose call this is. What it throws ends the call with its code's status. */
  readonly callerOf: (call: CallerCall) => Holder | Promise<Holder>;
  /** A call that {@link callerOf} has told the holder of has ended. */
  readonly left?: (call: CallerCall) => void;
  readonly observe: (protocol: 'sds' | 'delta-sds', holder: Holder, call: CallerCall) => StreamObserver;
  /** A caller is handed these, and will not say what it does with them. They are what `holder` holds now. */
  readonly fetched: (holder: Holder, resources: readonly Resource[]) => void;
  readonly metrics: SdsMetrics;
  readonly log: Logger;
  readonly limits?: Partial<SdsLimits>;
}

export interface SecretDiscovery {
  /** Streams and fetches open now. */
  readonly open: number;
  /** Ends each stream for whose call `check` throws, with the status of what it throws. */
  recheck(check: (call: CallerCall) => void): void;
  /** Ends all streams, and refuses new ones, with `UNAVAILABLE`: proxies keep what they have and reconnect. */
  close(): void;
}

const STATE_OF_THE_WORLD = {
  protocol: 'sds',
  initial: INITIAL_STREAM,
  parse: parseStreamRequest,
  reduce: reduceStream,
} as const;

const DELTA = {
  protocol: 'delta-sds',
  initial: INITIAL_DELTA,
  parse: parseDeltaRequest,
  reduce: reduceDelta,
} as const;

/** The generated definition, but with responses made of pre-encoded secrets, and requests that may not decode. */
const DEFINITION = {
  streamSecrets: {
    ...SERVICE.streamSecrets,
    requestDeserialize: (bytes: Buffer) => decoded(DiscoveryRequest, bytes),
    responseSerialize: encodeStreamResponse,
  },
  deltaSecrets: {
    ...SERVICE.deltaSecrets,
    requestDeserialize: (bytes: Buffer) => decoded(DeltaDiscoveryRequest, bytes),
    responseSerialize: encodeDeltaResponse,
  },
  fetchSecrets: {
    ...SERVICE.fetchSecrets,
    requestDeserialize: (bytes: Buffer) => decoded(DiscoveryRequest, bytes),
    responseSerialize: encodeStreamResponse,
  },
};

/**
 * Adds Envoy's SecretDiscoveryService to a gRPC server (made with the options in limits.ts). Each caller gets
 * what its {@link Holder} holds and nothing else, by any method.
 */
export function addSecretDiscoveryService(
  server: Pick<Server, 'addService'>,
  options: SecretDiscoveryOptions,
): SecretDiscovery {
  const service = new Service(options);
  server.addService(DEFINITION, {
    streamSecrets: (call: SecretCall<DiscoveryRequest, StreamResponse>) =>
      void service.stream(call, STATE_OF_THE_WORLD),
    deltaSecrets: (call: SecretCall<DeltaDiscoveryRequest, DeltaResponse>) =>
      void service.stream(call, DELTA),
    fetchSecrets: (call: FetchCall, answer: sendUnaryData<StreamResponse>) =>
      service.fetch(call).then(
        (response) => answer(null, response),
        (error) => answer(statusOf(error)),
      ),
  });
  return service;
}

type FetchCall = ServerUnaryCall<DiscoveryRequest | null, StreamResponse>;
type Ends = { end(error?: unknown): void };

class Service implements SecretDiscovery {
  readonly #options: SecretDiscoveryOptions;
  readonly #limits: SdsLimits;
  readonly #places: Places;
  readonly #streams = new Map<Ends, CallerCall>();
  #closed = false;

  constructor(options: SecretDiscoveryOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#places = new Places(this.#limits);
  }

  get open(): number {
    return this.#places.taken;
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#streams.keys()) stream.end(stopping());
  }

  recheck(check: (call: CallerCall) => void): void {
    for (const [stream, call] of this.#streams)
      try {
        check(call);
      } catch (error) {
        stream.end(error);
      }
  }

  async stream<Message, State extends AnyState, Request, Response>(
    call: SecretCall<Message, Response>,
    variant: Variant<Message, State, Request, Response>,
  ): Promise<void> {
    try {
      const { holder, leave } = await this.#admit(call);
      if (call.cancelled) return leave();
      const stream = new SecretStream(call, variant, {
        holder,
        observer: this.#options.observe(variant.protocol, holder, call),
        metrics: this.#options.metrics,
        log: this.#options.log,
        limits: this.#limits,
        onEnd: () => {
          this.#streams.delete(stream);
          leave();
        },
      });
      this.#streams.set(stream, call);
    } catch (error) {
      this.#refused(error);
      resetIfKept(call, this.#limits.graceMs);
      const status = statusOf(error);
      call.emit('error', Object.assign(new Error(status.details), status));
    }
  }

  async fetch(call: FetchCall): Promise<StreamResponse> {
    try {
      const { holder, leave } = await this.#admit(call);
      try {
        return await this.#fetchFor(holder, call);
      } finally {
        leave();
      }
    } catch (error) {
      this.#refused(error);
      throw error;
    } finally {
      resetIfKept(call, this.#limits.graceMs);
    }
  }

  async #fetchFor(holder: Holder, call: FetchCall): Promise<StreamResponse> {
    if (call.request === null)
      throw new CarnetError('invalid_argument', 'the request is not a valid message');
    const { event } = parseStreamRequest(call.request);
    const cancelled = new AbortController();
    call.on('cancelled', () => cancelled.abort());
    if (call.cancelled) cancelled.abort();
    try {
      const resources = await fetchResources(holder, event.names, {
        waitMs: this.#limits.fetchWaitMs,
        signal: cancelled.signal,
        onFound: (found) => this.#options.fetched(holder, found),
      });
      return { version: versionOf(resources), nonce: '', resources };
    } catch (error) {
      if (errorCodeOf(error) === 'permission_denied') this.#options.metrics.refusedNames(1);
      throw error;
    }
  }

  /** Finds out whose call it is, and takes a place for it. */
  async #admit(call: CallerCall): Promise<{ holder: Holder; leave: () => void }> {
    const holder = await this.#options.callerOf(call);
    const giveBack = this.#placeFor(holder, call);
    this.#options.metrics.streams(this.#places.taken);
    return {
      holder,
      leave: () => {
        giveBack();
        this.#options.left?.(call);
        this.#options.metrics.streams(this.#places.taken);
      },
    };
  }

  #placeFor(holder: Holder, call: CallerCall): () => void {
    try {
      if (this.#closed) throw stopping();
      return this.#places.take(holder.instance);
    } catch (error) {
      this.#options.left?.(call);
      throw error;
    }
  }

  #refused(error: unknown): void {
    const level = errorCodeOf(error) === 'internal' ? 'error' : 'debug';
    this.#options.log[level]({ err: error }, 'an SDS call was refused');
  }
}

function stopping(): CarnetError {
  return new CarnetError('shutting_down', 'the agent is stopping: connect again later');
}

/** Null where the bytes are no message of this type: grpc-js would call that our own failure. */
function decoded<T>(type: { decode(bytes: Uint8Array): T }, bytes: Buffer): T | null {
  try {
    return type.decode(bytes);
  } catch {
    return null;
  }
}
