import type { ExportedRow } from '../audit/export.ts';
import type { SinkName } from './sink.ts';

/** Where a sink that is new begins: with the first entry of the log, or with the next one that comes into it. */
export type ForwardFrom = 'start' | 'now';

export interface SinkState {
  readonly name: SinkName;
  readonly target: string;
  /** Leaf index of the entry that it gets next. */
  readonly position: number;
  /** How many entries wait for it. */
  readonly lagEntries: number;
  /** How long ago the first of them was recorded, in seconds; 0 for none. */
  readonly lagSeconds: number;
  readonly acknowledgedAt: Date | null;
  /** In a row. */
  readonly failures: number;
  readonly failingSince: Date | null;
  readonly problem: string | null;
}

/** How far each sink has got. */
export interface ForwardStore {
  /** Does nothing but note its address where there is a sink of this name already. */
  create(sink: { readonly name: SinkName; readonly target: string }, from: ForwardFrom): Promise<void>;
  /** What the sink gets next, at most `limit` entries; `position` is the leaf index of the first. Throws `not_found`. */
  waiting(name: SinkName, limit: number): Promise<{ position: number; rows: ExportedRow[] }>;
  /** All before `to` is acknowledged. False, and nothing is done, where the position is not `from` any more. */
  acknowledge(name: SinkName, from: number, to: number): Promise<boolean>;
  /** What was acknowledged from `to` on may be lost. Does nothing where the position is not `from` any more. */
  sendAgain(name: SinkName, from: number, to: number): Promise<void>;
  noteFailure(name: SinkName, problem: string): Promise<void>;
  list(): Promise<SinkState[]>;
  /** Has a sink go on elsewhere, on record. Throws `not_found`, and `invalid_argument` beyond the log's end. */
  move(name: string, position: number, reason: string, actor: string): Promise<SinkState>;
}
