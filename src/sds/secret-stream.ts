import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Holder } from '../delivery/holdings.ts';
import type { StreamObserver } from '../delivery/observer.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import { resetIfKept } from '../grpc/reset.ts';
import { statusOf } from '../grpc/status.ts';
import type { Logger } from '../log.ts';
import type { SdsLimits } from './limits.ts';
import type { SdsMetrics } from './metrics.ts';
import { type ProxyNode, printable } from './request.ts';
import type { Resources } from './resource.ts';
import { resourcesOf } from './resources.ts';
import type { Report, Subscription } from './subscription.ts';

/** What the states of both variants have in common. */
export interface AnyState {
  readonly subscription: Subscription;
}

/** One variant of the protocol: its reducer, and how its messages are read. */
export interface Variant<Message, State extends AnyState, Request, Response> {
  readonly protocol: 'sds' | 'delta-sds';
  readonly initial: State;
  /** Throws `invalid_argument`. */
  parse(message: Message): { event: Request; node: ProxyNode | null };
  /** Throws `invalid_argument`. */
  reduce(
    state: State,
    event: Request | { readonly kind: 'changed' } | { readonly kind: 'writable' },
    resources: Resources,
  ): { readonly state: State; readonly response: Response | null; readonly reports: readonly Report[] };
}

export interface Surroundings {
  readonly holder: Holder;
  readonly observer: StreamObserver;
  readonly metrics: SdsMetrics;
  readonly log: Logger;
  readonly limits: SdsLimits;
  /** Called once, when the stream has ended. */
  readonly onEnd: () => void;
}

/** A call in either variant: messages that don't decode arrive as null. */
export type SecretCall<Message, Response> = ServerDuplexStream<Message | null, Response>;

/** Lines that one stream may write to the log: what a hostile proxy provokes must not fill a disk. */
const MAX_LOG_LINES = 20;

/**
 * One stream between a gRPC call and the reducer. The transport holds at most one response that it hasn't
 * sent: the next is worked out when it has. Changes within one turn of the event loop make one response.
 */
export class SecretStream<Message, State extends AnyState, Request, Response> {
  readonly #call: SecretCall<Message, Response>;
  readonly #variant: Variant<Message, State, Request, Response>;
  readonly #around: Surroundings;
  readonly #unsubscribe: () => void;
  #state: State;
  #silence: NodeJS.Timeout | null;
  #node: ProxyNode | null = null;
  #refused: readonly string[] = [];
  #linesLeft = MAX_LOG_LINES;
  #changed = false;
  #open = true;

  constructor(
    call: SecretCall<Message, Response>,
    variant: Variant<Message, State, Request, Response>,
    around: Surroundings,
  ) {
    this.#call = call;
    this.#variant = variant;
    this.#around = around;
    this.#state = variant.initial;
    this.#unsubscribe = around.holder.subscribe(() => this.#noteChange());
    const { firstRequestMs } = around.limits;
    this.#silence = setTimeout(() => this.end(silent(firstRequestMs)), firstRequestMs).unref();
    call.on('data', (message: Message | null) => this.#receive(message));
    call.on('end', () => this.end());
    call.on('cancelled', () => this.#close());
    call.on('error', () => this.#close());
  }

  /** Ends the call: with the error's status, or well. */
  end(error?: unknown): void {
    if (!this.#open) return;
    this.#close();
    if (error === undefined) {
      this.#call.end();
      return;
    }
    const status = statusOf(error);
    const level = errorCodeOf(error) === 'internal' ? 'error' : 'info';
    this.#log(level, 'an SDS stream was ended', { err: error });
    this.#call.emit('error', Object.assign(new Error(status.details), status));
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#unsubscribe();
    if (this.#silence !== null) clearTimeout(this.#silence);
    resetIfKept(this.#call, this.#around.limits.graceMs);
    this.#around.observer.closed();
    this.#around.onEnd();
  }

  #receive(message: Message | null): void {
    if (!this.#open) return;
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#silence = null;
    try {
      if (message === null) throw new CarnetError('invalid_argument', 'the request is not a valid message');
      const { event, node } = this.#variant.parse(message);
      if (node !== null && this.#node === null) this.#meet(node);
      this.#reduce(event);
    } catch (error) {
      this.end(error);
    }
  }

  #meet(node: ProxyNode): void {
    this.#node = node;
    this.#around.observer.named(node);
  }

  #noteChange(): void {
    if (this.#changed) return;
    this.#changed = true;
    setImmediate(() => {
      this.#changed = false;
      this.#reduce({ kind: 'changed' });
    });
  }

  #reduce(event: Request | { kind: 'changed' } | { kind: 'writable' }): void {
    if (!this.#open) return;
    const resources = resourcesOf(this.#around.holder.current());
    const { state, response, reports } = this.#variant.reduce(this.#state, event, resources);
    this.#state = state;
    for (const report of reports) this.#report(report);
    if (resources.complete) this.#noteRefused(state.subscription.waiting);
    if (response === null) return;
    this.#call.write(response, (error: Error | null | undefined) => {
      if (error == null) this.#reduce({ kind: 'writable' });
    });
  }

  #report(report: Report): void {
    const { observer, metrics } = this.#around;
    switch (report.kind) {
      case 'kept':
        observer.kept(report.name, report.version);
        break;
      case 'sent':
        observer.sent(report.name, report.version, report.expiresAt);
        metrics.pushed();
        break;
      case 'acknowledged':
        observer.acknowledged(report.name, report.version);
        metrics.acknowledged();
        break;
      case 'rejected':
        observer.rejected(report.name, report.version, report.message);
        metrics.rejected();
        this.#log('warn', 'a proxy refused a secret', { ...report });
        break;
      case 'waiting':
        observer.waiting(report.names);
        break;
      case 'dropped':
        observer.dropped(report.name);
    }
  }

  /** These names are asked for, and there is nothing that the caller still waits to be issued. */
  #noteRefused(names: readonly string[]): void {
    if (names === this.#refused) return;
    const more = names.filter((name) => !this.#refused.includes(name));
    this.#refused = names;
    if (more.length === 0) return;
    this.#around.metrics.refusedNames(more.length);
    this.#log('warn', 'a proxy asks for secrets that no registration entry grants it', {
      names: more.slice(0, 10).map((name) => printable(name, 200)),
    });
  }

  #log(level: 'info' | 'warn' | 'error', message: string, fields: object): void {
    if (this.#linesLeft === 0) return;
    this.#linesLeft--;
    const { protocol } = this.#variant;
    const { instance } = this.#around.holder;
    this.#around.log[level]({ protocol, instance, nodeId: this.#node?.id ?? null, ...fields }, message);
  }
}

function silent(ms: number): CarnetError {
  return new CarnetError('timeout', `the stream said nothing for ${ms} ms: send a request when you open one`);
}
