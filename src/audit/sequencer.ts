import { setTimeout as sleep } from 'node:timers/promises';
import type { Tree } from './log/proof.ts';
import type { Sequenced } from './sequence.ts';

export interface SequencerOptions {
  /** One turn (audit/sequence.ts). */
  readonly sequence: (seen: Tree | null, limit: number) => Promise<Sequenced | null>;
  /** After each turn that was ours. */
  readonly onTurn: (turn: Sequenced) => void;
  readonly onFailed: (error: unknown) => void;
  /** Between turns, in milliseconds. */
  readonly pauseMs: number;
}

/** Two turns a second: a row waits half a second for its checkpoint, and the time that the turn takes. */
export const SEQUENCER_PAUSE_MS = 500;
/** A turn holds its entries in memory, and a transaction that others wait for: some tens of milliseconds. */
const MAX_TURN = 2_000;

/** Takes turns at sequencing for as long as it lives. In each replica: the database says whose turn it is. */
export class Sequencer implements AsyncDisposable {
  readonly #options: SequencerOptions;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #seen: Tree | null = null;

  constructor(options: SequencerOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  /** Resolves when the turn under way has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const more = await this.#turn();
      if (!more) await sleep(this.#options.pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Whether more rows may wait. */
  async #turn(): Promise<boolean> {
    try {
      const turn = await this.#options.sequence(this.#seen, MAX_TURN);
      if (turn === null) return false;
      this.#seen = turn.head;
      this.#options.onTurn(turn);
      return !turn.whole;
    } catch (error) {
      this.#options.onFailed(error);
      return false;
    }
  }
}
