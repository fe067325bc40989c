import { HELD_REFRESHES } from '../federation/refresh-time.ts';
import type { Consumer } from '../rotation/fleet.ts';
import type { Queryable } from './database.ts';

/** Whoever federates with us fetches our bundle many times a day: nobody is waited for who has not for so long. */
const FORGOTTEN_DAYS = 7;

/** Takes note that another trust domain fetched our bundle, and was told to come again after so many seconds. */
export async function noteBundleServed(database: Queryable, refreshHintSeconds: number): Promise<void> {
  await database.query(
    `INSERT INTO bundle_served (served_at, refresh_hint_seconds) VALUES (statement_timestamp(), $1)
     ON CONFLICT (singleton) DO UPDATE SET served_at = excluded.served_at,
       refresh_hint_seconds = excluded.refresh_hint_seconds`,
    [refreshHintSeconds],
  );
}

/**
 * All trust domains that fetch our bundle, as one consumer that cannot acknowledge. They verify by our roots alone, so
 * they were sent what they need when the newest root was published; who they are, nobody knows.
 */
export async function federatedConsumers(database: Queryable): Promise<Consumer[]> {
  const rows = await database.query<{ hint: number; sent: string; sent_at: Date }>(
    `SELECT refresh_hint_seconds AS hint, (SELECT max(sequence) FROM trust_bundle) AS sent, recorded_at AS sent_at
     FROM bundle_served, trust_bundle
     WHERE served_at > statement_timestamp() - make_interval(days => $1)
       AND sequence = (SELECT max(published_sequence) FROM authority WHERE kind = 'root')`,
    [FORGOTTEN_DAYS],
  );
  return rows.map(({ hint, sent, sent_at }) => ({
    instance: 'federation',
    node: 'other networks',
    names: ['trust domains that fetch our bundle'],
    identities: [],
    streams: 1,
    gone: false,
    acknowledges: false,
    minHoldSeconds: hint * HELD_REFRESHES,
    bundleSent: Number(sent),
    bundleSentAt: sent_at.getTime(),
    bundleAcknowledged: null,
    bundleObserved: null,
    observesUntil: null,
    authorities: [],
    holdsUntil: null,
    problem: null,
  }));
}
