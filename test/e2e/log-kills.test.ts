import test from 'ava';
import { insertIssuances } from '../../src/db/issuances.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { event } from '../db/log-fixtures.ts';
import { startReplicas } from '../support/replicas.ts';
import { until } from '../support/until.ts';

const ROUNDS = 3;

test('two servers that sequence under load, each killed, their connections cut: one tree, nothing lost or twice', async (t) => {
  await using replicas = await startReplicas(2, ['--no-agent', '--grpc-addr', 'off']);
  const database = openDatabase(replicas.database.url, { maxConnections: 2 });
  t.teardown(() => database.close());
  let loading = true;
  const load = (async () => {
    let recorded = 0;
    while (loading) {
      try {
        await insertIssuances(
          database,
          Array.from({ length: 50 }, () => issuance()),
        );
        await insertEvents(database, [event()]);
        recorded += 51;
      } catch {
        // Our own connections are cut as well: then that batch is recorded or it is not.
      }
    }
    return recorded;
  })();
  const size = async (): Promise<number> => {
    const rows = await database
      .query<{ size: string }>('SELECT max(size) AS size FROM log_checkpoint')
      .catch(() => []);
    return Number(rows[0]?.size ?? 0);
  };
  for (let round = 0; round < ROUNDS; round++) {
    const [victim, before] = [replicas.servers[round % 2], await size()];
    await until('the log has grown', async () => (await size()) > before);
    await victim?.kill();
    const alone = await size();
    await until('the other one goes on', async () => (await size()) > alone);
    await database
      .query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      )
      .catch(() => undefined);
    await victim?.restart();
  }
  loading = false;
  t.true((await load) > 0);

  const state = await until('all is in the log', async () => {
    const log = (await replicas.call(0, 'GET', '/v1/log')) as { size: number; waiting_since: string | null };
    return log.waiting_since === null && log;
  });
  const [counted] = await database.query<{ rows: string; entries: string; twice: string }>(
    `SELECT (SELECT count(*) FROM issuance) + (SELECT count(*) FROM revocation) + (SELECT count(*) FROM operator_event) AS rows,
       (SELECT count(*) FROM log_entry) AS entries,
       (SELECT count(*) FROM (SELECT FROM log_entry GROUP BY kind, row_id HAVING count(*) > 1) AS two) AS twice`,
  );
  t.deepEqual(counted, { rows: String(state.size), entries: String(state.size), twice: '0' });
  const url = replicas.database.url;
  const verified = await replicas.servers[0]?.cli('audit', 'verify', '--database-url', url, '--json');
  t.is(verified?.code, 0, verified?.stderr);
  t.like(JSON.parse(verified?.stdout ?? ''), { ok: true, size: state.size });
});
