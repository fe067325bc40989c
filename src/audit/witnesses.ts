import { setTimeout as sleep } from 'node:timers/promises';
import { type CosignOptions, cosign } from './cosign.ts';
import type { SignedTree } from './log-store.ts';
import type { Witness, WitnessProblem, WitnessState } from './witness.ts';

export interface WitnessesOptions extends CosignOptions {
  /** Between rounds, in seconds. */
  readonly intervalSeconds: number;
  /** Before each round: what is known of the witnesses, and the latest checkpoint. */
  readonly onRound: (states: readonly WitnessState[], head: SignedTree) => void;
  /** A witness did not cosign; `isNew`: the last time it did, or gave another reason. */
  readonly onProblem: (witness: Witness, problem: WitnessProblem, isNew: boolean) => void;
  /** It cosigns again. */
  readonly onRecovered: (witness: Witness) => void;
  /** A failure of ours: the round, or the witness' turn, is left out. */
  readonly onFailed: (error: unknown) => void;
  /** Monotonic, in milliseconds. */
  readonly now: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** A witness that fails is asked at last this often, and found to be back so late. */
const MAX_PAUSE_SECONDS = 300;

/** How long after its `failures`-th failure in a row a witness is left alone, in seconds. */
export function pauseAfter(failures: number, intervalSeconds: number, random: number): number {
  const doubled = intervalSeconds * 2 ** Math.min(failures, 16);
  return Math.min(doubled, Math.max(MAX_PAUSE_SECONDS, intervalSeconds)) * (0.5 + random / 2);
}

/**
 * Has witnesses cosign the log, in rounds: each takes the checkpoint that is the latest then, so that all of them
 * cosign the same ones, and what came between is passed over. Nobody waits for a witness: one whose answer is not
 * there when the next round begins misses it, one that failed misses some. At most one request to each is under way.
 */
export class Witnesses implements AsyncDisposable {
  readonly #options: WitnessesOptions;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  readonly #underWay = new Map<string, Promise<void>>();
  /** Those that were asked already: of what the database has of them the first answer tells whether it was set back. */
  readonly #asked = new Set<string>();
  readonly #failing = new Map<string, { readonly failures: number; readonly until: number }>();

  constructor(options: WitnessesOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  /** Resolves when the requests under way have ended: whoever sends them ends them first. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#ended;
    await Promise.all(this.#underWay.values());
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#round().catch((error: unknown) => this.#options.onFailed(error));
      await sleep(this.#options.intervalSeconds * 1000, undefined, { signal }).catch(() => undefined);
    }
  }

  async #round(): Promise<void> {
    const { store, onRound, now } = this.#options;
    const head = await store.head();
    if (head === null) return;
    const states = await store.witnesses();
    onRound(states, head);
    for (const state of states) {
      const isDue = now() >= (this.#failing.get(state.id)?.until ?? 0);
      const isToSay = state.size < head.size || state.problem !== null || !this.#asked.has(state.id);
      if (isDue && isToSay && !this.#underWay.has(state.id)) this.#start(state, head);
    }
  }

  #start(state: WitnessState, head: SignedTree): void {
    this.#asked.add(state.id);
    const turn = this.#turn(state, head)
      .catch((error: unknown) => this.#options.onFailed(error))
      .finally(() => this.#underWay.delete(state.id));
    this.#underWay.set(state.id, turn);
  }

  async #turn(state: WitnessState, head: SignedTree): Promise<void> {
    const { store, onProblem, onRecovered } = this.#options;
    const outcome = await cosign(this.#options, state, head, state.size);
    // Of requests that were cut off by the end, nothing is known.
    if (this.#closing.signal.aborted && 'problem' in outcome) return;
    if ('problem' in outcome) {
      this.#leaveAlone(state);
      const isNew = state.problem?.code !== outcome.problem.code;
      if (isNew) await store.setProblem(state, outcome.problem);
      onProblem(state, outcome.problem, isNew);
    } else {
      this.#failing.delete(state.id);
      if (state.problem === null) return;
      await store.setProblem(state, null);
      onRecovered(state);
    }
  }

  #leaveAlone({ id }: Witness): void {
    const { intervalSeconds, now, random } = this.#options;
    const failures = (this.#failing.get(id)?.failures ?? 0) + 1;
    const pauseMs = pauseAfter(failures, intervalSeconds, random()) * 1000;
    this.#failing.set(id, { failures, until: now() + pauseMs });
  }
}
