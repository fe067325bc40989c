import { errorCodeOf } from '../errors.ts';
import type { Issuance } from './issuance.ts';
import type { InsertIssuances } from './record.ts';

/** A failure is news until the next try, and for this long where none follows: proxies retry sooner than that. */
const NEWS_MS = 60_000;

/**
 * Watches what becomes of commits. A database can answer every question and still record nothing, with a full disk
 * for one: then only this tells.
 */
export class RecordingWatch {
  readonly #insert: InsertIssuances;
  readonly #now: () => number;
  #failure: { readonly message: string; readonly at: number } | null = null;

  /** `now` is monotonic, in milliseconds. */
  constructor(insert: InsertIssuances, now: () => number) {
    this.#insert = insert;
    this.#now = now;
  }

  /** Why issuances can't be recorded, in words; null while they can be, as far as anybody tried. */
  get problem(): string | null {
    if (this.#failure === null || this.#now() - this.#failure.at > NEWS_MS) return null;
    return this.#failure.message;
  }

  readonly insert = async (batch: readonly Issuance[]): Promise<void> => {
    try {
      await this.#insert(batch);
      this.#failure = null;
    } catch (error) {
      // A row that can't be recorded says nothing of the others.
      if (errorCodeOf(error) !== 'invalid_argument')
        this.#failure = { message: error instanceof Error ? error.message : String(error), at: this.#now() };
      throw error;
    }
  };
}
