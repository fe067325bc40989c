import type { Clock } from '../clock.ts';
import type { StreamObserver } from './observer.ts';

/** What one stream holds of one resource. Times are milliseconds since the epoch. */
export interface ProxyResource {
  readonly name: string;
  /** What it had already when it connected, by its own word. */
  readonly versionKept: string | null;
  readonly versionSent: string | null;
  readonly sentAt: number | null;
  readonly versionAcknowledged: string | null;
  readonly acknowledgedAt: number | null;
  /** What it was last seen to use, by a look at its admin interface. */
  readonly versionObserved: string | null;
  readonly observedAt: number | null;
  /** The last refusal, until a later version is acknowledged. */
  readonly lastError: { readonly version: string; readonly message: string; readonly at: number } | null;
  readonly expiresAt: number | null;
}

/** One connected stream of a proxy, as `GET /v1/proxies` shows it. */
export interface ProxyView {
  /** Unique among the streams of this server's life. */
  readonly id: string;
  readonly protocol: ProxyProtocol;
  readonly instance: string;
  readonly connectedAt: number;
  /** Envoy's own name for itself; null until it said one. */
  readonly nodeId: string | null;
  readonly nodeCluster: string | null;
  readonly userAgent: string | null;
  readonly identities: readonly string[];
  readonly resources: readonly ProxyResource[];
  readonly waiting: readonly string[];
}

export type ProxyProtocol = 'sds' | 'delta-sds' | 'workload-api';

interface Stream {
  view: Omit<ProxyView, 'resources' | 'identities'>;
  identities: () => readonly string[];
  resources: Map<string, ProxyResource>;
}

/** The streams connected now, and what each was sent and said to it. */
export class Proxies {
  readonly #streams = new Map<string, Stream>();
  readonly #clock: Clock;
  readonly #idPrefix: string;
  #count = 0;

  /** `idPrefix` tells its streams from those of another list. */
  constructor(clock: Clock, idPrefix = '') {
    this.#clock = clock;
    this.#idPrefix = idPrefix;
  }

  /** Registers a stream; it is listed until the observer's `closed()`. */
  connect(protocol: ProxyProtocol, instance: string, identities: () => readonly string[]): StreamObserver {
    const id = `${this.#idPrefix}${++this.#count}`;
    const stream: Stream = {
      view: {
        id,
        protocol,
        instance,
        connectedAt: this.#clock(),
        nodeId: null,
        nodeCluster: null,
        userAgent: null,
        waiting: [],
      },
      identities,
      resources: new Map(),
    };
    this.#streams.set(id, stream);
    const change = (name: string, fields: Partial<ProxyResource>): void => {
      stream.resources.set(name, { ...(stream.resources.get(name) ?? empty(name)), ...fields });
    };
    return {
      named: (node) => {
        stream.view = {
          ...stream.view,
          nodeId: node.id,
          nodeCluster: node.cluster,
          userAgent: node.userAgent,
        };
      },
      kept: (name, version) => change(name, { versionKept: version }),
      sent: (name, version, expiresAt) =>
        change(name, {
          versionSent: version,
          sentAt: this.#clock(),
          expiresAt: expiresAt?.getTime() ?? null,
        }),
      acknowledged: (name, version) =>
        change(name, { versionAcknowledged: version, acknowledgedAt: this.#clock(), lastError: null }),
      observing: () => undefined,
      observed: (name, version) => change(name, { versionObserved: version, observedAt: this.#clock() }),
      rejected: (name, version, message) =>
        change(name, { lastError: { version, message, at: this.#clock() } }),
      waiting: (names) => {
        stream.view = { ...stream.view, waiting: names };
      },
      dropped: (name) => {
        stream.resources.delete(name);
      },
      closed: () => {
        this.#streams.delete(id);
      },
    };
  }

  get size(): number {
    return this.#streams.size;
  }

  list(): ProxyView[] {
    return [...this.#streams.values()].map((stream) => ({
      ...stream.view,
      identities: stream.identities(),
      resources: [...stream.resources.values()],
    }));
  }
}

function empty(name: string): ProxyResource {
  return {
    name,
    versionKept: null,
    versionSent: null,
    sentAt: null,
    versionAcknowledged: null,
    acknowledgedAt: null,
    versionObserved: null,
    observedAt: null,
    lastError: null,
    expiresAt: null,
  };
}
