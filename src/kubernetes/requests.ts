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
  /**
   * Answers it for good; `waited` is whether it has lain for long enough that what it needs would be there. Throws a
   * CarnetError to have it refused, or whatever may pass to be asked again.
   */
  readonly answer: (request: T, waited: boolean) => Promise<'answered' | 'later'>;
  /** Tells the requester no, and why. */
  readonly refuse: (request: T, error: CarnetError) => Promise<void>;
  readonly onFailed: (error: unknown, failures: number) => void;
  readonly random: () => number;
  /** The wall clock, milliseconds since the epoch. */
  readonly now: () => number;
}

/** Requests under way at once: each waits for a few round trips and a commit. */
const CONCURRENCY = 8;
/** Open requests; more wait in etcd. */
const MAX_OPEN = 5_000;
const GATHER_MS = 50;
/** A pod may ask before its entry is made: a refusal is for good, so there must be time for that. */
const PATIENCE_MS = 10_000;
const LOOK_AGAIN_MS = 250;
const EVERY_MS = 30_000;

/**
 * Answers requests that lie in the API, each once: issued, or refused with a reason. What can't be answered now, the
 * database or the API being away, stays open and is tried again with back-off.
 */
export class Requests<T extends { readonly uid: string }> {
  readonly #options: RequestsOptions<T>;
  readonly #watch: ResourceWatch<T>;
  readonly #passes: Passes;
  /** When each was first seen, and whether it is answered though the watch has not told of it yet. */
  readonly #seen = new Map<string, { readonly at: number; answered: boolean }>();
  #timer: NodeJS.Timeout | undefined;

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
    clearTimeout(this.#timer);
    await this.#watch.close();
    await this.#passes.close();
  }

  async #pass(): Promise<void> {
    const open = [...this.#watch.objects.values()];
    const uids = new Set(open.map(({ uid }) => uid));
    for (const uid of this.#seen.keys()) if (!uids.has(uid)) this.#seen.delete(uid);
    const todo = open.filter(({ uid }) => this.#seen.get(uid)?.answered !== true).values();
    const failures: unknown[] = [];
    let waiting = false;
    const worker = async (): Promise<void> => {
      // All workers draw from one iterator.
      for (const request of todo)
        try {
          if ((await this.#answer(request)) === 'later') waiting = true;
        } catch (error) {
          failures.push(error);
        }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    if (failures.length > 0) throw failures[0];
    clearTimeout(this.#timer);
    if (waiting) this.#timer = setTimeout(() => this.#passes.wake(), LOOK_AGAIN_MS).unref();
  }

  async #answer(request: T): Promise<'answered' | 'later'> {
    const { answer, refuse, now } = this.#options;
    const seen = this.#seen.get(request.uid) ?? { at: now(), answered: false };
    this.#seen.set(request.uid, seen);
    try {
      const outcome = await answer(request, now() - seen.at >= PATIENCE_MS).catch(async (error: unknown) => {
        if (!isRefusal(error)) throw error;
        await refuse(request, error);
        return 'answered' as const;
      });
      seen.answered = outcome === 'answered';
      return outcome;
    } catch (error) {
      // Someone else has answered, or taken back, the request.
      if (!(error instanceof ApiError && (error.status === 409 || error.status === 404))) throw error;
      seen.answered = true;
      return 'answered';
    }
  }
}

/** Ours, and as true later as now. What the API server refuses us is no fault of the requester. */
function isRefusal(error: unknown): error is CarnetError {
  return !(error instanceof ApiError) && errorCodeOf(error) !== 'internal' && !isRetryable(error);
}
