import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from './database.ts';

const INTERVAL_MS = 1_000;

/** Asks the database every second whether it answers, so that readiness can say so without asking. */
export class DatabaseProbe {
  readonly #database: Database;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #problem: string | null = null;

  /** `onChange` hears of each change between up and down. */
  constructor(database: Database, onChange: (up: boolean, problem: string | null) => void) {
    this.#database = database;
    this.#ended = this.#run(onChange);
  }

  /** Why the database can't be used, in words; null while it answers. */
  get problem(): string | null {
    return this.#problem;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async #run(onChange: (up: boolean, problem: string | null) => void): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const problem = await this.#ask();
      if ((problem === null) !== (this.#problem === null)) onChange(problem === null, problem);
      this.#problem = problem;
      await sleep(INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #ask(): Promise<string | null> {
    try {
      await this.#database.query('SELECT 1');
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
