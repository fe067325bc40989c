import { schedule } from 'node-cron';
import type { Database } from '../db/database.ts';
import { ensurePartitions } from '../db/partitions.ts';
import { isRetryable } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type ApplyOptions, applyPlan } from '../rotation/apply.ts';
import type { Authorities } from '../rotation/authorities.ts';
import { plan } from '../rotation/plan.ts';

export interface UpkeepOptions {
  readonly apply: ApplyOptions;
  readonly authorities: Authorities;
  readonly database: Database;
  readonly log: Logger;
}

/** Authorities are looked at this often: a lifetime of seconds must work as well as one of years. */
const AUTHORITIES = '*/2 * * * * *';
const PARTITIONS = '17 3 * * *';

/** Wakes what is to be done by the clock. Every replica wakes; Postgres decides who acts. */
export function scheduleUpkeep(options: UpkeepOptions): AsyncDisposable {
  const { log, database } = options;
  const tasks = [
    schedule(AUTHORITIES, () => quietly(log, 'authorities', () => renewAuthorities(options)), {
      noOverlap: true,
    }),
    schedule(PARTITIONS, () => quietly(log, 'partitions', () => ensurePartitions(database)), {
      noOverlap: true,
    }),
  ];
  return {
    [Symbol.asyncDispose]: async () => {
      for (const task of tasks) await task.destroy();
    },
  };
}

/** Asks the database only when what was last read of it says that something is due. */
async function renewAuthorities({ apply, authorities, log }: UpkeepOptions): Promise<void> {
  if (plan(apply.clock(), authorities.list(), apply.schedule).length === 0) return;
  for (const step of await applyPlan(apply, 'schedule:authorities')) log.info(step, 'authorities changed');
  await authorities.refresh();
}

/** A failure is for the log: the next time may go better. */
async function quietly(log: Logger, task: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (isRetryable(error))
      log.warn({ task, reason: (error as Error).message }, 'scheduled work failed; it is tried again');
    else log.error({ task, err: error }, 'scheduled work failed');
  }
}
