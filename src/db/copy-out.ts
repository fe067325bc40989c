import type { Connection, Submittable } from 'pg';
import { CopyDecoder } from './copy-decoder.ts';

/** What pg calls on a query in flight, beyond what its types declare. */
interface QueryCallbacks extends Submittable {
  handleError(error: Error): void;
  handleReadyForQuery(): void;
  handleCopyData(message: { readonly chunk: Buffer }): void;
  handleCommandComplete(): void;
}

/** Called for each row, with its fields; their bytes are the driver's own, and others as soon as it returns. */
export type OnRow = (fields: readonly (Buffer | null)[]) => void;

/** `COPY … TO STDOUT (FORMAT binary)`: each row is handed over as it comes, and none is kept. */
export class CopyOut implements QueryCallbacks {
  /** Resolves when the last row was handed over. */
  readonly done: Promise<void>;
  readonly #statement: string;
  readonly #onRow: OnRow;
  readonly #decoder = new CopyDecoder();
  readonly #settle: PromiseWithResolvers<void>;
  #failure: unknown;

  constructor(statement: string, onRow: OnRow) {
    this.#statement = statement;
    this.#onRow = onRow;
    this.#settle = Promise.withResolvers();
    this.done = this.#settle.promise;
  }

  submit(connection: Connection): void {
    connection.query(this.#statement);
  }

  /** What is thrown here would end the process: it counts once the connection is ready again. */
  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    if (this.#failure !== undefined) return;
    try {
      this.#decoder.decode(chunk, this.#onRow);
    } catch (error) {
      this.#failure = error;
    }
  }

  handleError(error: Error): void {
    this.#settle.reject(error);
  }

  handleReadyForQuery(): void {
    if (this.#failure === undefined) this.#settle.resolve();
    else this.#settle.reject(this.#failure);
  }

  handleCommandComplete(): void {
    // Counts once the server is ready again.
  }
}
