import test from 'ava';
import type { SignedTree } from '../../src/audit/log-store.ts';
import { WitnessClient } from '../../src/audit/witness-client.ts';
import { pauseAfter, Witnesses, type WitnessesOptions } from '../../src/audit/witnesses.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { type Misbehaviour, startWitness, type WitnessStandIn } from './witness-stand-in.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

function logWith(quorum: number, ...standIns: readonly WitnessStandIn[]): PostgresLog {
  return new PostgresLog(database, { witnesses: standIns.map(({ witness }) => witness), quorum });
}

let size = 0;
async function grow(): Promise<SignedTree> {
  await insertIssuances(
    database,
    Array.from({ length: 10 }, () => issuance()),
  );
  size += 10;
  await sequenceAll(database, size);
  const head = await new PostgresLog(database).head();
  if (head === null) throw new Error('the log has not begun');
  return head;
}

test('a witness that fails is left alone for longer each time, up to five minutes', (t) => {
  t.is(pauseAfter(1, 5, 1), 10);
  t.is(pauseAfter(1, 5, 0), 5);
  t.is(pauseAfter(3, 5, 1), 40);
  t.is(pauseAfter(9, 5, 1), 300);
  t.is(pauseAfter(99, 1, 1), 300);
});

test.serial(
  'all witnesses cosign the same checkpoints; one that hangs holds up neither them nor the end',
  async (t) => {
    await using a = await startWitness('one.example');
    await using b = await startWitness('two.example');
    await using dead = await startWitness('dead.example');
    dead.misbehave = () => true;
    const store = logWith(2, a, b, dead);
    const client = new WitnessClient();
    const rounds = startRounds(store, client);
    let head = await grow();
    for (let round = 1; round <= 3; round++) {
      await until(
        'both have cosigned',
        async () => (await store.published())?.size === head.size && b.known.size === head.size,
      );
      head = await grow();
    }
    await until('both have cosigned', async () => (await store.witnessed())?.size === head.size);
    t.is(dead.asked.length, 1, 'one request to it is under way');
    client[Symbol.dispose]();
    await rounds.witnesses[Symbol.asyncDispose]();
    t.deepEqual(rounds.told, [], 'what is cut off at the end is no problem of the witness');
  },
);

test.serial('what is wrong with a witness is told once, shown, and over when it cosigns again', async (t) => {
  await using standIn = await startWitness('coming.example');
  const head = await grow();
  standIn.misbehave = fails(503);
  const store = logWith(0, standIn);
  using client = new WitnessClient();
  const rounds = startRounds(store, client);
  await until('it was asked again', () => standIn.asked.length >= 2);
  t.like(await store.witnesses(), [{ size: 0, problem: { code: 'unreachable' } }]);
  t.deepEqual(rounds.told, ['unreachable']);
  standIn.misbehave = fails(404);
  await until('it is another problem', () => rounds.told.includes('unknown_log'));
  standIn.misbehave = null;
  await until('it is over', () => rounds.told.includes('recovered'));
  t.like(await store.witnesses(), [{ size: head.size, problem: null }]);
  await rounds.witnesses[Symbol.asyncDispose]();
  t.deepEqual(rounds.told, ['unreachable', 'unknown_log', 'recovered']);
});

/** A round as soon as the last is over, and no pause after a failure. */
function startRounds(store: WitnessesOptions['store'], client: WitnessClient) {
  const told: string[] = [];
  const witnesses = new Witnesses({
    store,
    post: client.post.bind(client),
    intervalSeconds: 0.02,
    onRound: () => undefined,
    onProblem: (_witness, { code }, isNew) => {
      if (isNew) told.push(code);
    },
    onRecovered: () => told.push('recovered'),
    onFailed: (error) => told.push(String(error)),
    now: () => performance.now(),
    random: () => 0,
  });
  return { told, witnesses };
}

function fails(status: number): Misbehaviour {
  return (response) => response.writeHead(status).end() === response;
}
