import type { ExportedRow } from '../../src/audit/export.ts';
import { encodeEntry } from '../../src/audit/log/entry.ts';
import { leafHashOf } from '../../src/audit/log/merkle.ts';
import type { OperatorEvent } from '../../src/audit/operator-event.ts';
import { cutBatch } from '../../src/forward/batch.ts';

/** An operator event as entry `index` of the log, recorded with the year 2000 (what `record_send` makes of it). */
export function eventRow(index: number, fields: Partial<OperatorEvent> = {}): ExportedRow {
  const { actor = 'operator:a', action = 'entry.create', subject = 'web', reason = '' } = fields;
  const { before = null, after = null } = fields;
  const texts = [actor, action, subject, jsonOf(before), jsonOf(after), reason];
  const columns = [...Array.from({ length: 3 }, () => Buffer.alloc(8)), ...texts.map(bytesOf)];
  const values = columns.flatMap((value) => [int4(25), int4(value?.length ?? -1), value ?? Buffer.alloc(0)]);
  const record = Buffer.concat([int4(columns.length), ...values]);
  const kind = 'operator_event';
  return { index, kind, record, leafHash: leafHashOf(encodeEntry(kind, record)), retired: false };
}

/** The line of one row. */
export function lineOf(row: ExportedRow): string {
  return cutBatch([row]).lines.join();
}

function jsonOf(value: object | null): string | null {
  return value === null ? null : JSON.stringify(value);
}

function bytesOf(text: string | null): Buffer | null {
  return text === null ? null : Buffer.from(text);
}

function int4(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
