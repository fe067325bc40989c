import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import {
  type Partition,
  type RetentionStore,
  type RetireHow,
  retirePartition,
} from '../../src/audit/retire.ts';
import { type Sequenced, sequence } from '../../src/audit/sequence.ts';
import { Sequencer } from '../../src/audit/sequencer.ts';
import { exportPartition } from '../../src/cli/export-partition.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { PostgresRetention } from '../../src/db/retention.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { issuance, openDatabase } from './fixtures.ts';
import { event, recordRevocation, sequenceOptions } from './log-fixtures.ts';

export const MONTH = 'issuance_2024_01';
export const OLD_ROWS = 300;
export const BY = { actor: 'database-owner:test', reason: 'policy 7' };

/** A database with a month of 2024, in issuances and in events, rows of today, and somebody who sequences them. */
export async function startArchive(t: ExecutionContext) {
  const created = await createDatabase();
  const database = openDatabase(created.url, { maxConnections: 6 });
  const directory = mkdtempSync(join(tmpdir(), 'carnet-retention-'));
  for (const history of ['issuance', 'operator_event']) {
    await database.query(
      `CREATE TABLE ${history}_2024_01 PARTITION OF ${history} FOR VALUES FROM ('2024-01-01 00:00Z') TO ('2024-02-01 00:00Z')`,
    );
    await database.query(`SELECT carnet_make_append_only('${history}_2024_01')`);
  }
  await database.query(
    `INSERT INTO issuance (recorded_at, not_before, not_after, serial, profile, identity, dns_names, authority_id,
       public_key_sha256, certificate_sha256, certificate, node, evidence, requester)
     SELECT at, at, at + interval '1 hour', uuid_send(gen_random_uuid()), 'x509-svid',
       'spiffe://carnet.local/ns/' || i % 3 || '/web', '{}', 'issuing-0a1b2c3d', sha256('k'), sha256('c'), '\\x30', 'n',
       '{"uid":  1000}', 'agent:n'
     FROM generate_series(1, ${OLD_ROWS}) AS i, LATERAL (SELECT '2024-01-02 00:00Z'::timestamptz + i * interval '1 hour' AS at)`,
  );
  await database.query(
    `INSERT INTO operator_event (recorded_at, actor, action, subject, reason)
     SELECT '2024-01-05 00:00Z', 'operator:old', 'entry.create', 'web', '' FROM generate_series(1, 5)`,
  );
  await insertIssuances(
    database,
    Array.from({ length: 20 }, () => issuance()),
  );
  await recordRevocation(database);
  await insertEvents(database, [event()]);
  const log = new PostgresLog(database);
  const turns: Sequenced[] = [];
  const sequencer = new Sequencer({
    sequence: (seen, limit) => sequence(sequenceOptions(log), seen, limit),
    onTurn: (turn) => turns.push(turn),
    onFailed: () => undefined,
    pauseMs: 50,
  });
  t.teardown(async () => {
    await sequencer[Symbol.asyncDispose]();
    await database.close();
    await created.drop();
    rmSync(directory, { recursive: true, force: true });
  });
  await untilSequenced(log);
  const store = new PostgresRetention(database);
  const partitions = await store.partitions();
  const month = partitions.find(({ name }) => name === MONTH) as Partition;
  const exportRows = (partition: Partition) => exportPartition(database, directory, partition);
  const retire = (how: RetireHow = 'drop', by: RetentionStore = store) =>
    retirePartition({ store: by, exportRows, how, ...BY }, month);
  return { created, database, directory, log, store, partitions, month, exportRows, retire };
}
export type Archive = Awaited<ReturnType<typeof startArchive>>;

export async function untilSequenced(log: PostgresLog): Promise<void> {
  await until(
    'all is in the log',
    async () => (await log.head()) !== null && (await log.waitingSince()) === null,
  );
}
