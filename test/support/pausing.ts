import type { Database } from '../../src/db/database.ts';
import { until } from './until.ts';

/** Where a turn of the log's sequencer can be held: around each of its writes, and once its COMMIT has begun. */
export const MOMENTS = [
  'before log_entry',
  'after log_entry',
  'before log_node',
  'after log_node',
  'before log_checkpoint',
  'after log_checkpoint',
  'in COMMIT',
] as const;
export type Moment = (typeof MOMENTS)[number];

/** Makes turns wait at whatever moment is in the table `paused_at`: a kill then strikes there, and not by luck. */
export async function installPauses(database: Database): Promise<void> {
  await database.query('CREATE TABLE paused_at (moment text PRIMARY KEY)');
  await database.query(
    `CREATE FUNCTION wait_while_paused() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
       WHILE EXISTS (SELECT FROM paused_at WHERE moment = TG_ARGV[0]) LOOP
         PERFORM pg_sleep(0.02);
       END LOOP;
       RETURN NULL;
     END $$`,
  );
  for (const moment of MOMENTS) {
    const [when, table = ''] = moment.split(' ');
    await database.query(
      moment === 'in COMMIT'
        ? `CREATE CONSTRAINT TRIGGER paused_in_commit AFTER INSERT ON log_checkpoint DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION wait_while_paused('${moment}')`
        : `CREATE TRIGGER paused_${when} ${when} INSERT ON ${table}
           FOR EACH STATEMENT EXECUTE FUNCTION wait_while_paused('${moment}')`,
    );
  }
}

/** Resolves, when a turn waits at the moment, to the name of the session whose turn it is, and its backend's pid. */
export async function pauseAt(
  database: Database,
  moment: Moment,
): Promise<{ readonly name: string; readonly pid: number }> {
  await database.query('INSERT INTO paused_at VALUES ($1)', [moment]);
  return until(`a turn waits ${moment}`, async () => {
    const [row] = await database
      .query<{ name: string; pid: number }>(
        `SELECT application_name AS name, pid FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event = 'PgSleep'`,
      )
      .catch(() => []);
    return row;
  });
}

/** Also as soon as a database that is away is there again. */
export async function resume(database: Database): Promise<void> {
  await until('turns go on', () =>
    database.query('DELETE FROM paused_at').then(
      () => true,
      () => false,
    ),
  );
}
