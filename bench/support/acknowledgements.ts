import type { Metrics } from '../../src/metrics.ts';

/** The moments at which proxies acknowledged a version, as the server's own counter of them is told. */
export class Acknowledgements {
  #expected = 0;
  #at: number[] = [];
  #resolve: (at: number[]) => void = () => undefined;

  constructor({ sdsAcks }: Metrics) {
    const count = sdsAcks.inc.bind(sdsAcks);
    sdsAcks.inc = () => {
      count();
      this.#note();
    };
  }

  /** Resolves with the next so many, in their order: milliseconds of `performance.now()`. */
  next(count: number): Promise<number[]> {
    this.#expected = count;
    this.#at = [];
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  #note(): void {
    this.#at.push(performance.now());
    if (this.#at.length === this.#expected) this.#resolve(this.#at);
  }
}
