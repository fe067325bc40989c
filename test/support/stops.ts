import pg from 'pg';
import { until } from './until.ts';

/**
 * Places where whatever writes to a database can be held, so that a test can kill it there: in the transaction
 * that records this operator event (its action's name), or `leaf`: the first leaves under the root that comes.
 */
export interface Stops {
  /** Holds everything that comes to one of these places from now on. */
  set(places: readonly string[]): Promise<void>;
  /** Resolves when something is held there, to its session's name. */
  reached(place: string): Promise<string>;
  /** Lets go. */
  release(place: string): Promise<void>;
}

/** Keeps its advisory locks apart from Carnet's own. */
const LOCK_CLASS = 7;

/** A place that is set is a row; who waits there for its end shows it by a lock. Both are the database's own to lose. */
const INSTALL = `
  CREATE TABLE test_stop (number integer GENERATED ALWAYS AS IDENTITY, place text PRIMARY KEY);
  CREATE FUNCTION test_stop() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    here text;
    place_number integer;
  BEGIN
    IF TG_ARGV[0] = 'event' THEN
      here := NEW.action;
    ELSIF EXISTS (
      SELECT FROM rotation r JOIN authority a ON a.parent_id = r.new_id
      WHERE r.finished_at IS NULL AND a.id = NEW.authority_id AND NEW.instance IS NOT NULL
    ) THEN
      here := 'leaf';
    END IF;
    SELECT number INTO place_number FROM test_stop WHERE place = here;
    IF NOT FOUND THEN RETURN NEW; END IF;
    PERFORM pg_advisory_xact_lock_shared(${LOCK_CLASS}, place_number);
    WHILE EXISTS (SELECT FROM test_stop WHERE place = here) LOOP
      PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN NEW;
  END $$;
  CREATE TRIGGER test_stop BEFORE INSERT ON operator_event FOR EACH ROW EXECUTE FUNCTION test_stop('event');
  CREATE TRIGGER test_stop BEFORE INSERT ON issuance FOR EACH ROW EXECUTE FUNCTION test_stop('issuance');
`;
const HELD = `
  SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)
  WHERE locktype = 'advisory' AND classid = ${LOCK_CLASS}
    AND objid = (SELECT number::oid FROM test_stop WHERE place = $1)`;

/** Makes stops possible in a database with all migrations, as its owner. */
export async function installStops(url: string): Promise<Stops> {
  await ask(url, INSTALL);
  return {
    set: async (places) => {
      for (const place of places) await ask(url, 'INSERT INTO test_stop (place) VALUES ($1)', [place]);
    },
    reached: (place) =>
      until(`${place} is reached`, async () => {
        const [held] = await ask<{ application_name: string }>(url, HELD, [place]);
        return held?.application_name;
      }),
    release: async (place) => void (await ask(url, 'DELETE FROM test_stop WHERE place = $1', [place])),
  };
}

/** One statement on a connection of its own. */
export async function ask<Row extends object>(
  url: string,
  statement: string,
  values?: readonly unknown[],
): Promise<Row[]> {
  const client = new pg.Client(url);
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<Row>(statement, values && [...values]);
    return rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}
