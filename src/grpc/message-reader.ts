import type { Readable } from 'node:stream';

/**
 * Reads a call's messages one by one, as they are asked for: what isn't asked for stays with the sender. Unlike a stream's
 * own iterator it leaves the stream alone when the call ends by an error, so that the status still goes out.
 */
export class MessageReader<T> {
  readonly #stream: Readable;
  #waiting: ((message: T | undefined) => void) | null = null;
  #ready: T[] = [];
  #ended = false;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on('data', (message: T) => {
      stream.pause();
      if (this.#waiting === null) this.#ready.push(message);
      else this.#answer(message);
    });
    for (const event of ['end', 'close', 'error'] as const)
      stream.once(event, () => {
        this.#ended = true;
        this.#answer(undefined);
      });
  }

  /** The next message; undefined when there is none any more. To be asked again only after it has resolved. */
  next(): Promise<T | undefined> {
    const ready = this.#ready.shift();
    if (ready !== undefined || this.#ended) return Promise.resolve(ready);
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#stream.resume();
    });
  }

  #answer(message: T | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.(message);
  }
}
