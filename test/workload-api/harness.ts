import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ClientReadableStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
} from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import type { StreamObserver } from '../../src/delivery/observer.ts';
import { SpiffeWorkloadAPIClient } from '../../src/gen/workload.ts';
import { createLogger } from '../../src/log.ts';
import type { Grant } from '../../src/policy/entry.ts';
import { SERVER_OPTIONS } from '../../src/sds/limits.ts';
import type { WorkloadApiLimits } from '../../src/workload-api/limits.ts';
import { addWorkloadApi, type WorkloadCaller } from '../../src/workload-api/server.ts';
import { TestHolder } from '../sds/holder.ts';

export interface Served {
  readonly socket: string;
  readonly client: SpiffeWorkloadAPIClient;
  readonly holder: TestHolder;
  /** What streams reported as sent: `x509 NAME VERSION` or `jwt …`. */
  readonly sent: string[];
  /** Streams that observers are open for. */
  observers: number;
  open: number;
  grants: readonly Grant[];
  readonly close: () => void;
}

/** The Workload API over a real Unix socket, for one caller. Ends with the test. */
export async function serve(
  t: ExecutionContext,
  {
    holder = new TestHolder(),
    grants = [],
    fetchJwt = async (grant, audience) => `${grant.spiffeId} ${audience.join(' ')}`,
    limits = {},
    now = Date.now,
  }: {
    holder?: TestHolder;
    grants?: readonly Grant[];
    fetchJwt?: WorkloadCaller['fetchJwt'];
    limits?: Partial<WorkloadApiLimits>;
    now?: () => number;
  } = {},
): Promise<Served> {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-workload-'));
  const server = new Server(SERVER_OPTIONS);
  const sent: string[] = [];
  const api = addWorkloadApi(server, {
    callerOf: () => ({ holder, grants: () => served.grants, fetchJwt }),
    observe: (_holder, trust) => {
      served.observers++;
      return {
        sent: (name: string, version: string) => void sent.push(`${trust} ${name} ${version}`),
        closed: () => void served.observers--,
      } as unknown as StreamObserver;
    },
    metrics: {
      streams: (open) => {
        served.open = open;
      },
      sent: () => undefined,
    },
    clock: now,
    log: createLogger('fatal'),
    limits,
  });
  const socket = join(directory, 'agent.sock');
  const address = `unix:${socket}`;
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  const client = new SpiffeWorkloadAPIClient(address, credentials.createInsecure());
  const served: Served = {
    socket,
    client,
    holder,
    sent,
    observers: 0,
    open: 0,
    grants,
    close: () => api.close(),
  };
  t.teardown(() => {
    client.close();
    server.forceShutdown();
    rmSync(directory, { recursive: true });
  });
  return served;
}

/** What a SPIFFE client sends. */
export function header(value = 'true'): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', value);
  return metadata;
}

export const grant = (fields: Partial<Grant> = {}): Grant => ({
  entryId: 'web',
  entryVersion: 1,
  spiffeId: 'spiffe://carnet.local/web' as Grant['spiffeId'],
  dnsNames: [],
  ttlSeconds: null,
  hint: null,
  federatesWith: [],
  ...fields,
});

/** The messages of a stream, one after the other; the error that ends it is thrown. */
export class Messages<Message> {
  readonly stream: ClientReadableStream<Message>;
  readonly #iterator: AsyncIterator<Message>;

  constructor(stream: ClientReadableStream<Message>) {
    this.stream = stream;
    this.#iterator = stream[Symbol.asyncIterator]();
  }

  async next(): Promise<Message> {
    const { value, done } = await this.#iterator.next();
    if (done) throw new Error('the stream ended');
    return value;
  }

  /** The gRPC status code by which it ends. */
  async code(): Promise<number> {
    try {
      for (;;) await this.next();
    } catch (error) {
      return (error as ServiceError).code;
    }
  }
}

/** A unary call as a promise. */
export function unary<Response>(
  call: (done: (error: ServiceError | null, response: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error === null ? resolve(response) : reject(error)));
  });
}
