import type { CarnetError } from '../errors.ts';
import type { Batch } from './batch.ts';

/** An outside receiver. */
export interface Sink {
  readonly name: SinkName;
  /** Where it is, without what may be secret in its address. */
  readonly target: string;
  /** An acknowledgement says that it was read, not that it is kept: what it took last is sent again when it was away. */
  readonly mayForget: boolean;
  /** Null once the receiver has acknowledged the whole batch. Given up when `signal` aborts. */
  send(batch: Batch, signal: AbortSignal): Promise<SendFailure | null>;
}

/** Of what may be configured: one of each. */
export const SINK_NAMES = ['syslog', 'webhook'] as const;
export type SinkName = (typeof SINK_NAMES)[number];

export interface SendFailure {
  readonly error: CarnetError;
  /** The receiver said that it will never take what was in this batch. */
  readonly isRefused: boolean;
  /** How long it asked to be left alone, in milliseconds. */
  readonly retryAfterMs: number | null;
}

/** From the first packet to the last, with the receiver's acknowledgement. */
export const SEND_TIMEOUT_MS = 30_000;

/** A failure that may go better later. */
export function failed(error: CarnetError, retryAfterMs: number | null = null): SendFailure {
  return { error, isRefused: false, retryAfterMs };
}
