import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { CarnetError } from '../errors.ts';
import { ApiError, type KubernetesClient, type Query } from './client.ts';

export interface WatchOptions<T> {
  readonly client: KubernetesClient;
  /** Of the collection, for example `/api/v1/pods`. */
  readonly path: string;
  /** `labelSelector`, `fieldSelector`. */
  readonly query?: Query;
  /** What is kept of an object; null for one that is not to be kept. Must not throw for what the API server sends. */
  readonly view: (object: unknown) => T | null;
  /** More are left out, and told of by `truncated`. */
  readonly maxObjects: number;
  /** What is kept of an object came, changed or went; null for all of them, after a list. Must only take note. */
  readonly onChange: (key: string | null) => void;
  /** The watch could not go on and is tried again; `failures` is which in a row. */
  readonly onFailed: (error: unknown, failures: number) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

interface Meta {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion: string;
  };
}

const PAGE = 500;
/** How long the API server is asked to let a watch run; jittered up to twice as much. */
const WATCH_SECONDS = 240;
const WATCH_GRACE_MS = 30_000;
/** One that ends sooner without a word is no watch: to begin it anew at once would be to do so for ever. */
const LEAST_WATCH_MS = 1_000;
/** etcd holds no object of more than 1.5 MiB. */
const MAX_EVENT_BYTES = 8 * 1024 * 1024;
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 30_000;
/** 410 Gone: the history from our version on is no longer kept, so all is listed anew. */
const GONE = 410;

/**
 * The objects of one kind as they are now, by `namespace/name`: listed in pages, then watched. Bookmarks carry the
 * version on while nothing changes, so that a watch that ends is resumed and seldom begun anew.
 */
export class ResourceWatch<T> {
  readonly #options: WatchOptions<T>;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #objects = new Map<string, T>();
  #version: string | null = null;
  #truncated = false;
  #failures = 0;
  #goneInARow = 0;

  constructor(options: WatchOptions<T>) {
    this.#options = options;
    this.#ended = this.#run();
  }

  /** Empty until the first list. */
  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  /** Whether there has been a list: before, that something isn't there means nothing. */
  get listed(): boolean {
    return this.#version !== null;
  }

  /** Whether there are more objects than are kept. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** How often in a row the watch could not go on; 0 while it does. */
  get failures(): number {
    return this.#failures;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        if (this.#version === null || this.#truncated) await this.#list();
        await this.#watch();
        this.#failures = 0;
        continue;
      } catch (error) {
        if (signal.aborted) return;
        const gone = error instanceof ApiError && error.status === GONE;
        if (gone) this.#version = null;
        // Once it is listed anew at once; again, with no event between, it is a failure like any other.
        if (gone && this.#goneInARow++ === 0) continue;
        this.#options.onFailed(error, ++this.#failures);
      }
      const pauseMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(this.#failures, 10));
      await sleep(pauseMs * (0.5 + this.#options.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }

  async #list(): Promise<void> {
    const { client, path, query, maxObjects } = this.#options;
    const objects = new Map<string, T>();
    let token: string | undefined;
    let version = '';
    this.#truncated = false;
    do {
      const page = (await client.get(path, { ...query, limit: PAGE, continue: token })) as {
        readonly metadata: { readonly continue?: string; readonly resourceVersion: string };
        readonly items: readonly Meta[];
      };
      for (const item of page.items) this.#put(objects, item);
      ({ continue: token, resourceVersion: version } = page.metadata);
    } while (token !== undefined && token !== '' && objects.size < maxObjects);
    if (token !== undefined && token !== '') this.#truncated = true;
    this.#objects = objects;
    this.#version = version;
    this.#options.onChange(null);
  }

  async #watch(): Promise<void> {
    const { client, path, query, random } = this.#options;
    const timeoutSeconds = Math.round(WATCH_SECONDS * (1 + random()));
    const signal = AbortSignal.any([
      this.#closing.signal,
      AbortSignal.timeout(timeoutSeconds * 1000 + WATCH_GRACE_MS),
    ]);
    const asked = {
      ...query,
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: this.#version ?? '',
      timeoutSeconds,
    };
    const begin = performance.now();
    let events = 0;
    for await (const line of client.lines(path, asked, signal, MAX_EVENT_BYTES)) {
      this.#take(JSON.parse(line) as { type: string; object: Meta & { code?: number; message?: string } });
      this.#failures = 0;
      this.#goneInARow = 0;
      events++;
    }
    if (events === 0 && performance.now() - begin < LEAST_WATCH_MS)
      throw new CarnetError('unavailable', `Kubernetes: a watch of ${path} ended as soon as it had begun`);
  }

  #take({ type, object }: { type: string; object: Meta & { code?: number; message?: string } }): void {
    if (type === 'ERROR') throw new ApiError(object.code ?? 500, object.message ?? 'the watch failed');
    this.#version = object.metadata.resourceVersion;
    if (type === 'BOOKMARK') return;
    const key = keyOf(object);
    const before = this.#objects.get(key);
    if (type === 'DELETED') this.#objects.delete(key);
    else this.#put(this.#objects, object);
    // Most changes are of a status that the view doesn't show.
    if (!isDeepStrictEqual(before, this.#objects.get(key))) this.#options.onChange(key);
  }

  #put(objects: Map<string, T>, object: Meta): void {
    const [key, view] = [keyOf(object), this.#options.view(object)];
    if (view === null) objects.delete(key);
    else if (objects.has(key) || objects.size < this.#options.maxObjects) objects.set(key, view);
    else this.#truncated = true;
  }
}

function keyOf({ metadata: { namespace, name } }: Meta): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
