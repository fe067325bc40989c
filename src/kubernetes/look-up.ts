import { setTimeout as sleep } from 'node:timers/promises';
import { CarnetError } from '../errors.ts';
import { ApiError, type KubernetesClient } from './client.ts';

/** Ours: what has not been heard of yet comes by a watch within moments, so few are ever asked for. */
const MAX_ASKED = 64;
/** Others of a batch wait as long. */
const ANSWER_TIMEOUT_MS = 3000;

/** Single objects as they are now. Those that ask for one at the same time share the answer. */
export class LookUp {
  readonly #client: KubernetesClient;
  readonly #timeoutMs: number;
  readonly #asked = new Map<string, Promise<unknown>>();

  constructor(client: KubernetesClient, timeoutMs = ANSWER_TIMEOUT_MS) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
  }

  /** Null where there is none. `name` is for errors. Throws `unavailable`, `overloaded`. */
  async find(path: string, name: string): Promise<unknown> {
    const answer = this.#ask(path, name);
    const inTime = new AbortController();
    const late = sleep(this.#timeoutMs, undefined, { signal: inTime.signal }).then(() => {
      throw unanswered(name, `it has not answered within ${this.#timeoutMs} ms`);
    });
    return Promise.race([answer, late]).finally(() => inTime.abort());
  }

  #ask(path: string, name: string): Promise<unknown> {
    const asked = this.#asked.get(path);
    if (asked !== undefined) return asked;
    if (this.#asked.size >= MAX_ASKED)
      throw new CarnetError(
        'overloaded',
        `the API server is asked ${MAX_ASKED} things already: try again later`,
      );
    const answer = this.#client
      .get(path)
      .catch((error: unknown) => {
        if (error instanceof ApiError && error.status === 404) return null;
        throw error instanceof CarnetError ? unanswered(name, error.message, error) : error;
      })
      .finally(() => this.#asked.delete(path));
    this.#asked.set(path, answer);
    return answer;
  }
}

function unanswered(name: string, why: string, cause?: unknown): CarnetError {
  return new CarnetError('unavailable', `the API server can't be asked about ${name}: ${why}`, { cause });
}
