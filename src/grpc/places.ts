import { CarnetError } from '../errors.ts';

export interface PlacesLimits {
  /** Open at once, of all callers. */
  readonly streams: number;
  /** Open at once, of one instance. */
  readonly streamsPerInstance: number;
}

/** How many streams and fetches are open, of all callers and of each instance. */
export class Places {
  readonly #limits: PlacesLimits;
  readonly #ofInstance = new Map<string, number>();
  #taken = 0;

  constructor(limits: PlacesLimits) {
    this.#limits = limits;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Takes a place, and returns the function that gives it back, once. Throws `overloaded`. */
  take(instance: string): () => void {
    const own = this.#ofInstance.get(instance) ?? 0;
    if (own >= this.#limits.streamsPerInstance)
      throw new CarnetError(
        'overloaded',
        `this workload has ${own} streams open, as many as it may: close some`,
      );
    if (this.#taken >= this.#limits.streams)
      throw new CarnetError('overloaded', `${this.#taken} streams are open, as many as can be: try later`);
    this.#taken++;
    this.#ofInstance.set(instance, own + 1);
    let given = false;
    return () => {
      if (!given) this.#giveBack(instance);
      given = true;
    };
  }

  #giveBack(instance: string): void {
    this.#taken--;
    const rest = (this.#ofInstance.get(instance) ?? 1) - 1;
    if (rest === 0) this.#ofInstance.delete(instance);
    else this.#ofInstance.set(instance, rest);
  }
}
