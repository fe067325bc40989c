import type { ServerWritableStream } from '@grpc/grpc-js';
import type { Holder } from '../delivery/holdings.ts';
import type { StreamObserver } from '../delivery/observer.ts';
import { errorCodeOf } from '../errors.ts';
import { resetIfKept } from '../grpc/reset.ts';
import { statusOf } from '../grpc/status.ts';
import type { Logger } from '../log.ts';
import { type Answer, due, INITIAL_STATE, type StreamState } from './answer.ts';
import type { WorkloadApiLimits } from './limits.ts';

/** What one kind of stream says. */
export interface Answering<Message> {
  /** What is to be said now; `patient` while it is better to wait than to say a part. */
  answer(patient: boolean): Answer<Message>;
  /** The message, which was worked out in this turn of the event loop, goes out now. */
  sent(observer: StreamObserver, version: string): void;
}

export interface Surroundings {
  readonly holder: Holder;
  readonly observer: StreamObserver;
  readonly log: Logger;
  readonly limits: WorkloadApiLimits;
  readonly onSent: () => void;
  /** Called once, when the stream has ended. */
  readonly onEnd: () => void;
}

/**
 * One stream of answers. The transport holds at most one message that it hasn't sent: the next is worked out when it
 * has. Changes within one turn of the event loop make one message.
 */
export class AnswerStream<Message> {
  readonly #call: ServerWritableStream<unknown, Message>;
  readonly #answering: Answering<Message>;
  readonly #around: Surroundings;
  readonly #unsubscribe: () => void;
  readonly #patience: NodeJS.Timeout;
  #patient = true;
  #state: StreamState = INITIAL_STATE;
  #changed = false;
  #open = true;

  constructor(
    call: ServerWritableStream<unknown, Message>,
    answering: Answering<Message>,
    around: Surroundings,
  ) {
    this.#call = call;
    this.#answering = answering;
    this.#around = around;
    this.#unsubscribe = around.holder.subscribe(() => this.#noteChange());
    this.#patience = setTimeout(() => {
      this.#patient = false;
      this.#advance();
    }, around.limits.firstMessageMs).unref();
    call.on('cancelled', () => this.#close());
    call.on('error', () => this.#close());
  }

  /** Says the first message as soon as there is one. */
  start(): void {
    this.#advance();
  }

  /** Ends the call with the error's status. */
  end(error: unknown): void {
    if (!this.#open) return;
    this.#close();
    const status = statusOf(error);
    const level = errorCodeOf(error) === 'internal' ? 'error' : 'debug';
    const { instance } = this.#around.holder;
    this.#around.log[level]({ instance, err: error }, 'a Workload API stream was ended');
    this.#call.emit('error', Object.assign(new Error(status.details), status));
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#unsubscribe();
    clearTimeout(this.#patience);
    resetIfKept(this.#call, this.#around.limits.graceMs);
    this.#around.observer.closed();
    this.#around.onEnd();
  }

  #noteChange(): void {
    if (this.#changed) return;
    this.#changed = true;
    setImmediate(() => {
      this.#changed = false;
      this.#advance();
    });
  }

  #advance(): void {
    if (!this.#open) return;
    try {
      const next = due(this.#state, this.#answering.answer(this.#patient));
      if (next === null) return;
      if (next.kind === 'end') this.end(next.error);
      else this.#say(next.message, next.version);
    } catch (error) {
      this.end(error);
    }
  }

  #say(message: Message, version: string): void {
    this.#state = { version, writable: false };
    this.#answering.sent(this.#around.observer, version);
    this.#around.onSent();
    this.#call.write(message, (error: Error | null | undefined) => {
      if (error != null) return;
      this.#state = { ...this.#state, writable: true };
      this.#advance();
    });
  }
}
