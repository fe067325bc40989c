import { type CarnetError, errorCodeOf, isRetryable } from '../errors.ts';
import { ApiError, type KubernetesClient, type Query } from './client.ts';
import { Passes } from './passes.ts';
import { ResourceWatch } from './resource-watch.ts';

export interface RequestsOptions<T> {
  readonly client: KubernetesClient;
  readonly path: string;
  readonly query: Query;
  /** Null for a request that is answered. */
  readonly view: (object: unknown) => T | null;
  /** Answers it for good. Throws a CarnetError to have it refused, or whatever may pass to be asked again. */
  readonly answer: (request: T) => Promise<void>;
  /** Tells the requester no, and why. */
  readonly refuse: (request: T, error: CarnetError) => Promise<void>;
  readonly onFailed: (error: unknown, failures: number) => void;
  readonly random: () => number;
}

/** Requests under way at once: each waits for a few round trips and a commit. */
const CONCURRENCY = 8;
/** Open requests; more wait in etcd. */
const MAX_OPEN = 5_000;
const GATHER_MS = 50;
const EVERY_MS = 30_000;

/**
 * Answers requests that lie in the API, each once: issued, or refused with a reason. What can't be answered now, the
 * database or the API being away, stays open and is tried again with back-off.
 */
export class Requests<T extends { readonly uid: string }> {
  readonly #options: RequestsOptions<T>;
  readonly #watch: ResourceWatch<T>;
  readonly #passes: Passes;
  /** Answered, while the watch has not told of it yet. */
  readonly #answered = new Set<string>();

  constructor(options: RequestsOptions<T>) {
    this.#options = options;
    const { onFailed, random, client, path, query, view } = options;
    const onChange = (): void => this.#passes.wake();
    this.#passes = new Passes({
      work: () => this.#pass(),
      gatherMs: GATHER_MS,
      everyMs: EVERY_MS,
      onFailed,
      random,
    });
    this.#watch = new ResourceWatch({
      client,
      path,
      query,
      view,
      maxObjects: MAX_OPEN,
      onChange,
      onFailed,
      random,
    });
  }

  async close(): Promise<void> {
    await this.#watch.close();
    await this.#passes.close();
  }

  async #pass(): Promise<void> {
    const open = [...this.#watch.objects.values()];
    const uids = new Set(open.map(({ uid }) => uid));
    for (const uid of this.#answered) if (!uids.has(uid)) this.#answered.delete(uid);
    const todo = open.filter(({ uid }) => !this.#answered.has(uid)).values();
    const failures: unknown[] = [];
    const worker = async (): Promise<void> => {
      // All workers draw from one iterator.
      for (const request of todo) await this.#answer(request).catch((error: unknown) => failures.push(error));
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    if (failures.length > 0) throw failures[0];
  }

  async #answer(request: T): Promise<void> {
    const { answer, refuse } = this.#options;
    try {
      await answer(request).catch(async (error: unknown) => {
        if (!isRefusal(error)) throw error;
        await refuse(request, error);
      });
    } catch (error) {
      // Someone else has answered, or taken back, the request.
      if (!(error instanceof ApiError && (error.status === 409 || error.status === 404))) throw error;
    }
    this.#answered.add(request.uid);
  }
}

/** Ours, and as true later as now. What the API server refuses us is no fault of the requester. */
function isRefusal(error: unknown): error is CarnetError {
  return !(error instanceof ApiError) && errorCodeOf(error) !== 'internal' && !isRetryable(error);
}
