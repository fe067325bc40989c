import type { EntryKind } from './log/entry.ts';
import type { RetireHow } from './retire.ts';
import type { PartitionExport } from './retired.ts';

/** A month that is no longer in the database, and where its records are. */
export interface RetiredPartition {
  readonly partition: string;
  readonly how: RetireHow;
  readonly actor: string;
  readonly reason: string;
  readonly retiredAt: Date;
  readonly exported: PartitionExport;
}

/** What a server can say of history that is no longer there. */
export interface RetiredList {
  /** Oldest first. */
  retired(): Promise<RetiredPartition[]>;
}

/** In which exports something may be that is not found any more: for the end of a message, or nothing. */
export function retiredInWords(retired: readonly RetiredPartition[], kind: EntryKind | undefined): string {
  const files = retired
    .filter(({ exported }) => exported.kind === kind)
    .map(({ exported: { file, sha256, from, to } }) => `${file} (${from} to ${to}, SHA-256 ${sha256})`);
  if (files.length === 0) return '';
  const shown = files.slice(-MAX_SHOWN).join(', ');
  const more =
    files.length > MAX_SHOWN ? `, and ${files.length - MAX_SHOWN} earlier ones (GET /v1/retention)` : '';
  return `; what was recorded in months that were taken out of the database is in the exports ${shown}${more}`;
}

const MAX_SHOWN = 3;
