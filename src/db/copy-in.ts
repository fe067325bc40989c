import type { Connection, Submittable } from 'pg';

/** What pg calls on a query in flight, beyond what its types declare. */
interface QueryCallbacks extends Submittable {
  handleError(error: Error): void;
  handleReadyForQuery(): void;
  handleCopyInResponse(): void;
  handleCommandComplete(): void;
}

/**
 * `COPY … FROM STDIN` with all its data at hand. The data follow the statement at once, in one round trip:
 * should the statement fail, the server skips them (PostgreSQL, "Message Flow", COPY operations).
 */
export class CopyIn implements QueryCallbacks {
  /** Resolves once the COPY, and its transaction where it stands alone, is committed. */
  readonly done: Promise<void>;
  readonly #statement: string;
  readonly #message: Buffer;
  readonly #settle: PromiseWithResolvers<void>;

  /** `message` is a whole CopyData message: the type `d`, the length, the data. */
  constructor(statement: string, message: Buffer) {
    this.#statement = statement;
    this.#message = message;
    this.#settle = Promise.withResolvers();
    this.done = this.#settle.promise;
  }

  submit(connection: Connection): void {
    connection.stream.cork();
    connection.query(this.#statement);
    connection.stream.write(this.#message);
    connection.stream.write(COPY_DONE);
    connection.stream.uncork();
  }

  handleError(error: Error): void {
    this.#settle.reject(error);
  }

  handleReadyForQuery(): void {
    this.#settle.resolve();
  }

  handleCopyInResponse(): void {
    // The data are on their way already.
  }

  handleCommandComplete(): void {
    // Counts once the server is ready again.
  }
}

const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]);
