import type { Terminal } from './output.ts';

const WIDTH = 30;
/** Often enough to move, and seldom enough to cost nothing. */
const REDRAW_MS = 100;

/** A bar on stderr, for a person at a terminal; nothing for anybody else. */
export class Progress {
  readonly #stderr: Terminal['stderr'];
  readonly #unit: string;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #drawn = false;

  constructor({ stderr }: Terminal, unit: string) {
    this.#stderr = stderr;
    this.#unit = unit;
  }

  show(done: number, all: number): void {
    const now = performance.now();
    if (this.#stderr.isTTY !== true || (now - this.#drawnAt < REDRAW_MS && done < all)) return;
    this.#drawnAt = now;
    this.#drawn = true;
    const filled = all === 0 ? WIDTH : Math.floor((done / all) * WIDTH);
    this.#stderr.write(
      `\r[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${done} of ${all} ${this.#unit}`,
    );
  }

  /** Leaves the line to what comes next. */
  end(): void {
    if (this.#drawn) this.#stderr.write('\r\u001b[K');
  }
}
