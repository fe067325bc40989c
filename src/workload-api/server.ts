import type {
  Metadata,
  Server,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Clock } from '../clock.ts';
import type { Holder } from '../delivery/holdings.ts';
import type { StreamObserver } from '../delivery/observer.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import {
  type JWTSVIDRequest,
  type JWTSVIDResponse,
  SpiffeWorkloadAPIService as SERVICE,
  type ValidateJWTSVIDRequest,
  type ValidateJWTSVIDResponse,
} from '../gen/workload.ts';
import { Places } from '../grpc/places.ts';
import { resetIfKept } from '../grpc/reset.ts';
import { statusOf } from '../grpc/status.ts';
import type { Logger } from '../log.ts';
import type { Grant } from '../policy/entry.ts';
import { AnswerStream } from './answer-stream.ts';
import { encodeClaims } from './claims.ts';
import { validate, wantedTokens } from './jwt-answers.ts';
import { DEFAULT_LIMITS, type WorkloadApiLimits } from './limits.ts';
import { bundlesAnswering, jwtBundlesAnswering, type StreamMethod, svidAnswering } from './streams.ts';
import { hintsOf, noIdentity } from './x509-answers.ts';

/** Any call of this service, for finding out whose it is. */
export type WorkloadCall = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>;

/** Who makes a call. */
export interface WorkloadCaller {
  readonly holder: Holder;
  /** What it is granted now. */
  readonly grants: () => readonly Grant[];
  /** A JWT-SVID of its own, recorded. */
  readonly fetchJwt: (grant: Grant, audience: readonly string[]) => Promise<string>;
}

export interface WorkloadApiOptions {
  /** Whose call this is. What it throws ends the call with its code's status. */
  readonly callerOf: (call: WorkloadCall) => WorkloadCaller;
  /** Of streams that hand out X.509 trust, which verifiers of the fleet then go by; and of the others. */
  readonly observe: (holder: Holder, trust: 'x509' | 'jwt') => StreamObserver;
  readonly metrics: WorkloadApiMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<WorkloadApiLimits>;
}

/** What is counted of this service. */
export interface WorkloadApiMetrics {
  /** Streams and calls open now. */
  streams(open: number): void;
  /** A message went out on a stream. */
  sent(): void;
}

export interface WorkloadApi {
  /** Ends all streams, and refuses new ones, with `UNAVAILABLE`: clients keep what they have and reconnect. */
  close(): void;
}

/** Workload Endpoint §3: it is what a browser that was tricked, or a proxy, does not send. */
const SECURITY_HEADER = 'workload.spiffe.io';

/** Stands for bytes that are no message of the method's type. */
const UNREADABLE = {};

/** The generated definition, but requests may not decode: grpc-js would call that our own failure. */
const DEFINITION = Object.fromEntries(
  Object.entries(SERVICE).map(([name, method]) => [
    name,
    { ...method, requestDeserialize: (bytes: Buffer) => decoded(method.requestDeserialize, bytes) },
  ]),
) as unknown as typeof SERVICE;

/**
 * Adds the SPIFFE Workload API (X.509 and JWT profiles) to a gRPC server. Each caller gets what its holder holds and
 * its grants allow, by any method.
 */
export function addWorkloadApi(server: Server, options: WorkloadApiOptions): WorkloadApi {
  const service = new Service(options);
  const methods: UntypedServiceImplementation = {
    fetchX509Svid: (call: StreamCall) => service.stream(call, svidAnswering),
    fetchX509Bundles: (call: StreamCall) => service.stream(call, bundlesAnswering),
    fetchJwtBundles: (call: StreamCall) => service.stream(call, jwtBundlesAnswering),
    fetchJwtsvid: (call: UnaryCall<JWTSVIDRequest>, answer: sendUnaryData<JWTSVIDResponse>) =>
      service.unary(call, answer, (caller, request) => service.fetchJwt(caller, request)),
    validateJwtsvid: (
      call: UnaryCall<ValidateJWTSVIDRequest>,
      answer: sendUnaryData<ValidateJWTSVIDResponse>,
    ) => service.unary(call, answer, async (caller, request) => service.validateJwt(caller, request)),
  };
  server.addService(DEFINITION, methods);
  return service;
}

type StreamCall = ServerWritableStream<unknown, unknown>;
type UnaryCall<Request> = ServerUnaryCall<Request, unknown>;

class Service implements WorkloadApi {
  readonly #options: WorkloadApiOptions;
  readonly #limits: WorkloadApiLimits;
  readonly #places: Places;
  readonly #streams = new Set<{ end(error: unknown): void }>();
  #closed = false;

  constructor(options: WorkloadApiOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#places = new Places(this.#limits);
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#streams) stream.end(stopping());
  }

  stream(call: StreamCall, method: StreamMethod): void {
    try {
      const { caller, leave } = this.#admit(call);
      if (call.cancelled) {
        leave();
        return;
      }
      const { holder } = caller;
      const { trust, ...answering } = method(holder, caller.grants);
      const stream: AnswerStream<unknown> = new AnswerStream(call, answering, {
        holder,
        observer: this.#options.observe(holder, trust),
        log: this.#options.log,
        limits: this.#limits,
        onSent: () => this.#options.metrics.sent(),
        onEnd: () => {
          this.#streams.delete(stream);
          leave();
        },
      });
      this.#streams.add(stream);
      stream.start();
    } catch (error) {
      this.#refused(error);
      resetIfKept(call, this.#limits.graceMs);
      const status = statusOf(error);
      call.emit('error', Object.assign(new Error(status.details), status));
    }
  }

  async unary<Request, Response>(
    call: UnaryCall<Request>,
    answer: sendUnaryData<Response>,
    work: (caller: WorkloadCaller, request: Request) => Promise<Response>,
  ): Promise<void> {
    try {
      const { caller, leave } = this.#admit(call);
      try {
        answer(null, await work(caller, call.request));
      } finally {
        leave();
      }
    } catch (error) {
      this.#refused(error);
      answer(statusOf(error));
    } finally {
      resetIfKept(call, this.#limits.graceMs);
    }
  }

  async fetchJwt(caller: WorkloadCaller, request: JWTSVIDRequest): Promise<JWTSVIDResponse> {
    const all = caller.grants();
    const { grants, audience } = wantedTokens(all, request);
    if (grants.length > this.#limits.tokens)
      throw new CarnetError(
        'overloaded',
        `this caller has ${grants.length} identities, too many for one call: name one`,
      );
    const hints = hintsOf(all);
    const svids = grants.map(async (grant) => ({
      spiffeId: grant.spiffeId,
      svid: await caller.fetchJwt(grant, audience),
      hint: hints.get(grant.spiffeId) ?? '',
    }));
    return { svids: await Promise.all(svids) };
  }

  validateJwt(caller: WorkloadCaller, request: ValidateJWTSVIDRequest): ValidateJWTSVIDResponse {
    if (caller.grants().length === 0) throw noIdentity();
    const { spiffeId, claims } = validate(caller.holder.current(), request, this.#options.clock());
    return { spiffeId, claims: encodeClaims(claims) };
  }

  /** Finds out whose call it is, and takes a place for it. */
  #admit(call: { readonly metadata: Metadata; readonly request: unknown }): {
    caller: WorkloadCaller;
    leave: () => void;
  } {
    checkHeader(call.metadata);
    if (call.request === UNREADABLE)
      throw new CarnetError('invalid_argument', 'the request is not a valid message');
    if (this.#closed) throw stopping();
    const caller = this.#options.callerOf(call as unknown as WorkloadCall);
    const giveBack = this.#places.take(caller.holder.instance);
    this.#options.metrics.streams(this.#places.taken);
    return {
      caller,
      leave: () => {
        giveBack();
        this.#options.metrics.streams(this.#places.taken);
      },
    };
  }

  #refused(error: unknown): void {
    const level = errorCodeOf(error) === 'internal' ? 'error' : 'debug';
    this.#options.log[level]({ err: error }, 'a Workload API call was refused');
  }
}

function checkHeader(metadata: Metadata): void {
  const values = metadata.get(SECURITY_HEADER);
  if (values.length !== 1 || values[0] !== 'true')
    throw new CarnetError(
      'invalid_argument',
      `the metadata ${SECURITY_HEADER}: true is missing: use a SPIFFE client library, or set it`,
    );
}

function stopping(): CarnetError {
  return new CarnetError('shutting_down', 'the agent is stopping: connect again later');
}

function decoded<T>(decode: (bytes: Buffer) => T, bytes: Buffer): T | typeof UNREADABLE {
  try {
    return decode(bytes);
  } catch {
    return UNREADABLE;
  }
}
