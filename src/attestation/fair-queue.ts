/** Items that wait, taken in turn from each key: whoever queues many waits behind his own. */
export class FairQueue<T> {
  readonly #items = new Map<number, Set<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(key: number, item: T): void {
    const waiting = this.#items.get(key) ?? new Set();
    waiting.add(item);
    this.#items.set(key, waiting);
    this.#size++;
  }

  /** Takes the oldest item of the key whose turn it is. */
  shift(): T | undefined {
    const [turn] = this.#items;
    if (turn === undefined) return undefined;
    const [key, waiting] = turn;
    const [item] = waiting;
    this.#items.delete(key);
    this.#items.set(key, waiting);
    if (item !== undefined) this.delete(key, item);
    return item;
  }

  /** Takes an item out of turn, if it still waits. */
  delete(key: number, item: T): void {
    const waiting = this.#items.get(key);
    if (!waiting?.delete(item)) return;
    this.#size--;
    if (waiting.size === 0) this.#items.delete(key);
  }
}
