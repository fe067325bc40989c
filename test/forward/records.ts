import { createHash } from 'node:crypto';
import type { LogRecord } from '../../src/audit/log-record.ts';
import type { OperatorEvent } from '../../src/audit/operator-event.ts';

/** An operator event as entry `leafIndex` of the log. */
export function eventRecord(leafIndex: number, fields: Partial<OperatorEvent> = {}): LogRecord {
  const event = { actor: 'operator:a', action: 'entry.create', subject: 'web', reason: '' };
  return {
    leafIndex,
    leafHash: createHash('sha256').update(String(leafIndex)).digest(),
    recordedAtMicros: 1_772_323_200_123_456n,
    kind: 'operator_event',
    row: { ...event, before: null, after: null, ...fields },
  };
}
