import { EventEmitter, on } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ClientDuplexStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerOptions,
} from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import type { Holder } from '../../src/delivery/holdings.ts';
import { CarnetError } from '../../src/errors.ts';
import { Secret } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import {
  DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  DiscoveryRequest,
  type DiscoveryResponse,
} from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { SecretDiscoveryServiceClient } from '../../src/gen/envoy/service/secret/v3/sds.ts';
import { createLogger } from '../../src/log.ts';
import { type SdsLimits, SERVER_OPTIONS } from '../../src/sds/limits.ts';
import { addSecretDiscoveryService, type SecretDiscovery } from '../../src/sds/server.ts';

/** What an observer was told, in the order of its arguments. */
export type Event = readonly [kind: string, ...args: unknown[]];

export interface Harness {
  readonly socket: string;
  readonly service: SecretDiscovery;
  readonly events: Event[];
  /** Resolves when the observers have been told this many times of this kind. */
  told(kind: string, times?: number): Promise<Event[]>;
  /** A client whose calls belong to this caller. */
  client(caller?: string): TestClient;
}

interface HarnessOptions {
  readonly limits?: Partial<SdsLimits>;
  readonly server?: ServerOptions;
}

/**
 * The service on a Unix socket of its own. A call belongs to the holder that its `caller` header names: a
 * stand-in for peer credentials. Everything is stopped with the test.
 */
export async function serve(
  t: ExecutionContext,
  callers: Record<string, Holder>,
  options: HarnessOptions = {},
): Promise<Harness> {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-sds-'));
  const socket = join(directory, 'agent.sock');
  const server = new Server({ ...SERVER_OPTIONS, ...options.server });
  const told = new EventEmitter().setMaxListeners(0);
  const events: Event[] = [];
  const tell =
    (kind: string) =>
    (...args: unknown[]): void => {
      events.push([kind, ...args]);
      told.emit('told');
    };
  const service = addSecretDiscoveryService(server, {
    callerOf: (call) => callerOf(callers, String(call.metadata.get('caller')[0])),
    observe: () => ({
      named: tell('named'),
      kept: tell('kept'),
      sent: tell('sent'),
      acknowledged: tell('acknowledged'),
      observing: tell('observing'),
      observed: tell('observed'),
      rejected: tell('rejected'),
      waiting: tell('waiting'),
      dropped: tell('dropped'),
      closed: tell('closed'),
    }),
    fetched: () => undefined,
    metrics: {
      streams: (open) => tell('open')(open),
      pushed: () => undefined,
      acknowledged: () => undefined,
      rejected: () => undefined,
      refusedNames: tell('refused-names'),
    },
    log: createLogger('fatal'),
    limits: options.limits ?? {},
  });
  await bind(server, socket);
  const clients: TestClient[] = [];
  t.teardown(() => {
    for (const client of clients) client.close();
    server.forceShutdown();
    rmSync(directory, { recursive: true });
  });
  return {
    socket,
    service,
    events,
    told: async (kind, times = 1) => {
      const matching = () => events.filter(([each]) => each === kind);
      const changes = on(told, 'told');
      while (matching().length < times) await changes.next();
      return matching();
    },
    client: (caller = 'web') => {
      const client = new TestClient(socket, caller);
      clients.push(client);
      return client;
    },
  };
}

const NOTHING = new Uint8Array();

export class TestClient {
  readonly #client: SecretDiscoveryServiceClient;
  readonly #metadata = new Metadata({ waitForReady: true });

  constructor(socket: string, caller: string) {
    this.#client = new SecretDiscoveryServiceClient(`unix:${socket}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
    });
    this.#metadata.set('caller', caller);
  }

  stream(): TestStream<DiscoveryRequest, DiscoveryResponse> {
    return new TestStream(this.#client.streamSecrets(this.#metadata), DiscoveryRequest.decode(NOTHING));
  }

  delta(): TestStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
    return new TestStream(this.#client.deltaSecrets(this.#metadata), DeltaDiscoveryRequest.decode(NOTHING));
  }

  fetch(...names: string[]): Promise<DiscoveryResponse> {
    const request = { ...DiscoveryRequest.decode(NOTHING), resourceNames: names };
    return new Promise((resolve, reject) => {
      this.#client.fetchSecrets(request, this.#metadata, (error, response) =>
        error === null ? resolve(response) : reject(error),
      );
    });
  }

  close(): void {
    this.#client.close();
  }
}

/** A stream whose responses are awaited one by one. */
export class TestStream<Request, Response> {
  readonly call: ClientDuplexStream<Request, Response>;
  readonly #empty: Request;
  readonly #arrived: Response[] = [];
  readonly #waiting: ((response: Response) => void)[] = [];
  /** Resolves with the status when the stream has ended. */
  readonly ended: Promise<{ code: number; details: string }>;

  constructor(call: ClientDuplexStream<Request, Response>, empty: Request) {
    this.call = call;
    this.#empty = empty;
    this.ended = new Promise((resolve) => call.on('status', resolve));
    call.on('error', () => undefined);
    call.on('data', (response: Response) => {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#arrived.push(response);
      else waiting(response);
    });
  }

  send(request: Partial<Request>): void {
    this.call.write({ ...this.#empty, ...request });
  }

  next(): Promise<Response> {
    const arrived = this.#arrived.shift();
    return arrived === undefined
      ? new Promise((resolve) => this.#waiting.push(resolve))
      : Promise.resolve(arrived);
  }
}

/** The secrets of a state-of-the-world response. */
export function secretsOf({ resources }: DiscoveryResponse): Secret[] {
  return resources.map(({ value }) => Secret.decode(value));
}

function callerOf(callers: Record<string, Holder>, name: string): Holder {
  const holder = callers[name];
  if (holder === undefined) throw new CarnetError('attestation_failed', 'the caller is not known');
  return holder;
}

function bind(server: Server, socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
