import { setTimeout as sleep } from 'node:timers/promises';
import { CarnetError } from '../errors.ts';
import { monthOf, type PartitionExport } from './retired.ts';

/** A month of history. */
export interface Partition {
  readonly name: string;
  readonly kind: PartitionExport['kind'];
  /** Of the time of recording: `from` inclusive, `to` exclusive. */
  readonly from: Date;
  readonly to: Date;
}

export type RetireHow = 'detach' | 'drop';

/** Who does it, and why: both stand in the events. */
export interface Retirer {
  readonly actor: string;
  readonly reason: string;
}

/** The tables, by their owner's hand. */
export interface RetentionStore {
  /** Without those that rows of no month are in; oldest first. */
  partitions(): Promise<Partition[]>;
  /** Why it has to stay, in words; null where nothing keeps it. */
  obstacle(partition: string): Promise<string | null>;
  /** How many rows it has. */
  countRows(partition: string): Promise<number>;
  /** The event of just this export of the partition; null for none. One that says anything else would excuse nothing. */
  findExport(partition: string, exported: PartitionExport): Promise<bigint | null>;
  /** Records the event of an export. */
  recordExport(partition: string, exported: PartitionExport, by: Retirer): Promise<bigint>;
  /** Whether an event is in the log, below a checkpoint. */
  isCovered(event: bigint): Promise<boolean>;
  /** Takes the partition out, with an event that says so, or does nothing. Throws `conflict` for what keeps it. */
  retire(event: bigint, how: RetireHow, by: Retirer): Promise<void>;
}

export interface RetireOptions extends Retirer {
  readonly store: RetentionStore;
  /** Makes the file of exactly the partition's rows, or finds it whole; durable, and checked against the log. */
  readonly exportRows: (partition: Partition) => Promise<PartitionExport>;
  readonly how: RetireHow;
}

/** A server sequences within a second. */
const COVER_TRIES = 120;
const COVER_PAUSE_MS = 500;

/**
 * Takes a partition out of history:
 *
 *  1. Its rows are in a file, durably, and each is what the log has of it.
 *  2. The file's SHA-256 and the hashes of these entries are recorded.
 *  3. That record is in the log, below a checkpoint.
 *  4. The partition goes, in one transaction with the event that it went.
 *
 * No row is gone before all of this; whatever ends it in between, it is gone on with where it ended when it is called
 * again. Throws `conflict` where something keeps the partition, `unavailable` where nobody sequences the log.
 */
export async function retirePartition(
  options: RetireOptions,
  partition: Partition,
): Promise<PartitionExport> {
  const { store, exportRows, how } = options;
  const by = { actor: options.actor, reason: options.reason };
  const { kind, from, to } = partition;
  if (monthOf({ kind, from: from.toISOString(), to: to.toISOString() }) !== partition.name)
    throw new CarnetError(
      'conflict',
      `${partition.name} is not what Carnet calls a month of ${kind}: verify would not excuse that its rows are gone`,
    );
  const exported = await exportRows(partition);
  const rows = await store.countRows(partition.name);
  if (exported.rows !== rows)
    throw new CarnetError(
      'conflict',
      `${exported.file} has ${exported.rows} records, and ${partition.name} has ${rows} rows: some are not in the log yet, or are not what was logged; run carnet audit verify`,
    );
  const event =
    (await store.findExport(partition.name, exported)) ??
    (await store.recordExport(partition.name, exported, by));
  await untilCovered(store, event, partition);
  await store.retire(event, how, by);
  return exported;
}

async function untilCovered(store: RetentionStore, event: bigint, { name }: Partition): Promise<void> {
  for (let i = 0; i < COVER_TRIES; i++) {
    if (await store.isCovered(event)) return;
    await sleep(COVER_PAUSE_MS);
  }
  throw new CarnetError(
    'unavailable',
    `the export of ${name} is recorded but does not come into the log: is a server running? Repeat the command then`,
  );
}
