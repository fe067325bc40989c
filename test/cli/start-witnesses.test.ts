import test from 'ava';
import { startWitnesses } from '../../src/cli/start-witnesses.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { startWitness, type WitnessStandIn } from '../audit/witness-stand-in.ts';
import { issuance, openDatabase, log as silent } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
let size = 0;
test.after.always(async () => {
  await database.close();
  await created.drop();
});

async function grow(): Promise<void> {
  await insertIssuances(database, [issuance(), issuance()]);
  size += 2;
  await sequenceAll(database, size);
}

/** As two servers have it: metrics of its own, the database and the witness in common. */
function startServer({ witness }: WitnessStandIn) {
  const metrics = createMetrics();
  const witnesses = [witness];
  const part = startWitnesses({
    config: { witnesses, witnessQuorum: null, witnessInterval: 1 },
    database,
    store: new PostgresLog(database, { witnesses, quorum: 1 }),
    clock: Date.now,
    log: silent,
    metrics,
  });
  if (part === null) throw new Error('there is a witness');
  const leads = async (): Promise<boolean> =>
    /^carnet_log_witness_lag_entries\{/m.test(await metrics.scrape());
  return { part, leads };
}

test('of several servers one asks the witnesses and shows how far they are; when it ends, another does', async (t) => {
  await using standIn = await startWitness('witness.example');
  await grow();
  const first = startServer(standIn);
  await until('the first asked', () => standIn.known.size === size);
  const second = startServer(standIn);
  for (let round = 0; round < 3; round++) {
    await grow();
    await until('it is cosigned', () => standIn.known.size === size);
    t.deepEqual([await first.leads(), await second.leads()], [true, false]);
  }
  await first.part[Symbol.asyncDispose]();
  t.false(await first.leads());
  await grow();
  await until('the second asked', () => standIn.known.size === size);
  t.true(await second.leads());
  await second.part[Symbol.asyncDispose]();
});

test('without witnesses nothing is started', (t) => {
  const config = { witnesses: [], witnessQuorum: null, witnessInterval: 1 };
  const store = new PostgresLog(database);
  const metrics = createMetrics();
  t.is(startWitnesses({ config, database, store, clock: Date.now, log: silent, metrics }), null);
});
