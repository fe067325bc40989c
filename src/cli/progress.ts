import type { Terminal } from './output.ts';

const WIDTH = 30;
/** Often enough to move, and seldom enough to cost nothing. */
const REDRAW_MS = 100;
/** Before this the rate is a guess. */
const RATE_AFTER_MS = 1_000;

/** A bar on stderr with the rate and the time left, for a person at a terminal; nothing for anybody else. */
export class Progress {
  readonly #stderr: Terminal['stderr'];
  readonly #unit: string;
  readonly #now: () => number;
  #begun: { readonly at: number; readonly done: number } | undefined;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #drawn = false;

  /** `now` in milliseconds, from any beginning. */
  constructor({ stderr }: Terminal, unit: string, now = () => performance.now()) {
    this.#stderr = stderr;
    this.#unit = unit;
    this.#now = now;
  }

  /** What was `done` at the first call was done before. */
  show(done: number, all: number): void {
    const now = this.#now();
    this.#begun ??= { at: now, done };
    if (this.#stderr.isTTY !== true || (now - this.#drawnAt < REDRAW_MS && done < all)) return;
    this.#drawnAt = now;
    this.#drawn = true;
    const filled = all === 0 ? WIDTH : Math.floor((done / all) * WIDTH);
    const bar = `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}]`;
    const pace = paceOf(done - this.#begun.done, all - done, now - this.#begun.at);
    this.#stderr.write(`\r${bar} ${done} of ${all} ${this.#unit}${pace}\u001b[K`);
  }

  /** Leaves the line to what comes next. */
  end(): void {
    if (this.#drawn) this.#stderr.write('\r\u001b[K');
  }
}

function paceOf(done: number, left: number, elapsedMs: number): string {
  if (elapsedMs < RATE_AFTER_MS || done === 0) return '';
  const perSecond = (done * 1000) / elapsedMs;
  const seconds = Math.ceil(left / perSecond);
  const time = seconds < 100 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
  return `, ${Math.round(perSecond)} a second, ${time} left`;
}
