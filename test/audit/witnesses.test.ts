import test from 'ava';
import { type Cosigned, cosign } from '../../src/audit/cosign.ts';
import { checkWitnesses } from '../../src/audit/log/cosignature.ts';
import { EMPTY_ROOT } from '../../src/audit/log/merkle.ts';
import { isSignedBy, parseNote } from '../../src/audit/log/note.ts';
import { hashRanges } from '../../src/audit/log/subtree.ts';
import { verifierOf } from '../../src/audit/log-key.ts';
import type { SignedTree } from '../../src/audit/log-store.ts';
import { WitnessClient } from '../../src/audit/witness-client.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { newCosigner } from './log/cosigner.ts';
import { type Misbehaviour, startWitness, type WitnessStandIn } from './witness-stand-in.ts';

/** One log for all tests, each with witnesses of its own. */
const SIZES = [10, 300, 700];
const created = await createDatabase();
const database = openDatabase(created.url);
const plain = new PostgresLog(database);

async function grow(to: number): Promise<void> {
  const { size } = (await plain.head()) ?? { size: 0 };
  await insertIssuances(
    database,
    Array.from({ length: to - size }, () => issuance()),
  );
  await sequenceAll(database, to);
}

async function headOf(): Promise<SignedTree> {
  const head = await plain.head();
  if (head === null) throw new Error('the log has not begun');
  return head;
}

test.before(async () => {
  for (const size of SIZES) await grow(size);
});
test.after.always(async () => {
  await database.close();
  await created.drop();
});

function logFor(...witnesses: readonly WitnessStandIn[]): PostgresLog {
  return logWith(0, ...witnesses);
}

function logWith(quorum: number, ...standIns: readonly WitnessStandIn[]): PostgresLog {
  return new PostgresLog(database, { witnesses: standIns.map(({ witness }) => witness), quorum });
}

/** Once, as a round does. */
async function ask(standIn: WitnessStandIn, timeoutMs = 60_000): Promise<Cosigned> {
  using client = new WitnessClient(timeoutMs);
  const store = logFor(standIn);
  const [state] = await store.witnesses();
  const post = client.post.bind(client);
  return await cosign({ store, post }, standIn.witness, await headOf(), state?.size ?? 0);
}

async function rootAt(size: number): Promise<Uint8Array> {
  const [root] = await hashRanges([{ start: 0, end: size }], plain.readNodes);
  return root ?? EMPTY_ROOT;
}

for (const type of [4, 6] as const)
  test(`a witness with a key of type 0${type} cosigns the log, and its cosignature is served behind the signature of the log`, async (t) => {
    await using standIn = await startWitness('good.example', type);
    const head = await headOf();
    t.deepEqual(await ask(standIn), { size: head.size });
    const log = logFor(standIn);
    const published = await log.published();
    const key = await log.key();
    if (published === null || key === null) return t.fail();
    t.true(published.note.startsWith(head.note));
    t.true(isSignedBy(parseNote(published.note), verifierOf(key)));
    t.is(checkWitnesses(published.note, { witnesses: [standIn.cosigner.key], quorum: 1 }).length, 1);
    t.deepEqual(await log.witnessed(), published);
    // Those whose witnesses they are not serve none of it.
    t.is((await plain.published())?.note, head.note);
    t.is(await plain.witnessed(), null);
    const [state] = await log.witnesses();
    t.like(state, { size: head.size, behindSince: null, problem: null });
  });

for (const size of [...SIZES, 1, 256, 699])
  test(`a witness that knows ${size} entries already is given the proof from there`, async (t) => {
    await using standIn = await startWitness('knowing.example');
    standIn.known = { size, root: await rootAt(size) };
    t.deepEqual(await ask(standIn), { size: SIZES.at(-1) });
    t.is(standIn.asked.length, 2);
    // It is remembered from where it is to go on.
    t.like(await logFor(standIn).witnesses(), [{ size: SIZES.at(-1) }]);
  });

test('a cosignature whose answer was lost is asked for again, and there is one of it', async (t) => {
  await using standIn = await startWitness('lossy.example');
  standIn.misbehave = (response) => {
    standIn.misbehave = null;
    // It has done its part, and the answer never comes.
    void headOf().then(({ size, root }) => {
      standIn.known = { size, root };
      response.destroy();
    });
    return true;
  };
  t.like(await ask(standIn), { problem: { code: 'unreachable' } });
  t.like(await ask(standIn), { size: SIZES.at(-1) });
  t.like(await ask(standIn), { size: SIZES.at(-1) });
  const rows = await database.query('SELECT FROM log_cosignature WHERE witness = $1', [standIn.witness.id]);
  t.is(rows.length, 1);
});

const other = newCosigner('hostile.example');
const text = (body: string): string => parseNote(body.slice(body.indexOf('\n\n') + 2)).text;
const says =
  (status: number, body: string | ((request: string) => string), headers = {}): Misbehaviour =>
  (response, _request, request) => {
    response.writeHead(status, headers).end(typeof body === 'string' ? body : body(request));
    return true;
  };

const HOSTILE: readonly (readonly [string, string, (standIn: WitnessStandIn) => Misbehaviour])[] = [
  ['answers without an end', 'bad_answer', () => endless],
  ['answers nothing', 'bad_answer', () => says(200, '')],
  ['answers something else', 'bad_answer', () => says(200, '<html>hello</html>\n')],
  ['answers zeros', 'bad_answer', () => says(200, '\0'.repeat(1000))],
  ['cosigns by another key of its name', 'bad_answer', () => says(200, (body) => other.cosign(text(body)))],
  [
    'cosigns another checkpoint',
    'bad_answer',
    ({ cosigner }) => says(200, (body) => cosigner.cosign(text(body).replace('700', '701'))),
  ],
  [
    'leaves out the time',
    'bad_answer',
    ({ cosigner }) => says(200, (body) => cosigner.cosign(text(body), 0)),
  ],
  [
    'spoils one bit of its cosignature',
    'bad_answer',
    ({ cosigner }) =>
      says(200, (body) =>
        cosigner.cosign(text(body)).replace(/(.)==\n$/, (_, c) => `${c === 'A' ? 'Q' : 'A'}==\n`),
      ),
  ],
  [
    'sends a whole note',
    'bad_answer',
    ({ cosigner }) => says(200, (body) => `${text(body)}\n${cosigner.cosign(text(body))}`),
  ],
  ['redirects', 'bad_answer', () => says(307, '', { location: 'http://127.0.0.1:1/' })],
  ['redirects to itself', 'bad_answer', () => says(301, '', { location: '/w/add-checkpoint' })],
  ['accepts without a word', 'bad_answer', () => says(202, '')],
  ['knows a size that is no number', 'bad_answer', () => says(409, '0x10\n')],
  ['knows a size past all numbers', 'bad_answer', () => says(409, '99999999999999999999\n')],
  ['knows a size past 2^53', 'bad_answer', () => says(409, '9007199254740993\n')],
  ['knows less than nothing', 'bad_answer', () => says(409, '-1\n')],
  ['knows what was asked for, and refuses it', 'bad_answer', () => says(409, '0\n')],
  ['knows another size each time', 'bad_answer', () => wavering()],
  ['knows more than there is', 'ahead', () => says(409, '701\n')],
  ['knows a thousand times more than there is', 'ahead', () => says(409, '9007199254740991\n')],
  ['finds no consistency', 'forked', () => says(422, '')],
  ['does not know the log', 'unknown_log', () => says(404, 'unknown log\n')],
  ['has another key of the log', 'refused', () => says(403, '')],
  ['takes it for malformed', 'refused', () => says(400, `\u001b[2J${'x'.repeat(10_000)}`)],
  ['is overloaded', 'unreachable', () => says(503, '')],
  ['has enough', 'unreachable', () => says(429, '')],
  ['hangs up', 'unreachable', () => (response) => response.destroy() === response],
  ['hangs up in the middle', 'unreachable', () => cutOff],
];

function endless(response: Parameters<Misbehaviour>[0]): boolean {
  const more = (): void => {
    while (!response.destroyed && response.write('x'.repeat(65_536)));
  };
  response.on('drain', more);
  more();
  return true;
}

function cutOff(response: Parameters<Misbehaviour>[0]): boolean {
  response.writeHead(200, { 'content-length': '1000' });
  response.write('\u2014 ', () => response.destroy());
  return true;
}

function wavering(): Misbehaviour {
  let size = 1;
  return (response) => {
    size = size === 1 ? 2 : 1;
    response.writeHead(409).end(`${size}\n`);
    return true;
  };
}

for (const [what, code, misbehaviour] of HOSTILE)
  test(`from a witness that ${what} nothing is taken: ${code}`, async (t) => {
    await using standIn = await startWitness('hostile.example');
    standIn.misbehave = misbehaviour(standIn);
    const outcome = await ask(standIn);
    t.like(outcome, { problem: { code } });
    if ('problem' in outcome) {
      t.true(outcome.problem.reason.length < 500, 'it is bounded');
      // biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal would obey.
      t.notRegex(outcome.problem.reason, /[\u0000-\u001f]/);
    }
    t.true(standIn.asked.length <= 3);
    const log = logFor(standIn);
    t.like(await log.witnesses(), [{ size: 0 }]);
    t.is(await log.witnessed(), null);
    t.is((await log.published())?.size, SIZES.at(-1));
    // Once it does its duty, nothing is in the way.
    standIn.misbehave = null;
    t.deepEqual(await ask(standIn), { size: SIZES.at(-1) });
  });

test('a witness that answers never is given up', async (t) => {
  await using standIn = await startWitness('silent.example');
  standIn.misbehave = () => true;
  t.like(await ask(standIn, 300), {
    problem: { code: 'unreachable', reason: 'it did not answer within 300 ms' },
  });
  standIn.misbehave = (response) => response.writeHead(200).flushHeaders() === undefined;
  t.like(await ask(standIn, 300), { problem: { code: 'unreachable' } });
});

test('a witness that is not there is unreachable', async (t) => {
  const standIn = await startWitness('gone.example');
  await standIn[Symbol.asyncDispose]();
  t.like(await ask(standIn), { problem: { code: 'unreachable' } });
});

test('of a log that was forked, or set back, a witness tells', async (t) => {
  await using forked = await startWitness('forked.example');
  forked.known = { size: 300, root: EMPTY_ROOT };
  t.like(await ask(forked), { problem: { code: 'forked' } });
  await using same = await startWitness('same.example');
  same.known = { size: 700, root: EMPTY_ROOT };
  t.like(await ask(same), { problem: { code: 'forked' } });
  await using ahead = await startWitness('ahead.example');
  ahead.known = { size: 701, root: EMPTY_ROOT };
  t.like(await ask(ahead), { problem: { code: 'ahead' } });
});

/** As if it had cosigned the checkpoint of so many entries. */
async function keep({ witness, cosigner }: WitnessStandIn, size: number): Promise<void> {
  const [row] = await database.query<{ note: string }>('SELECT note FROM log_checkpoint WHERE size = $1', [
    size,
  ]);
  await plain.insertCosignature(witness, size, cosigner.cosign(parseNote(row?.note ?? '').text));
}

test('a quorum is met on one checkpoint: cosignatures of different ones do not add up', async (t) => {
  await using a = await startWitness('a.example');
  await using b = await startWitness('b.example');
  for (const size of [10, 700]) await keep(a, size);
  for (const size of [10, 300]) await keep(b, size);
  t.is((await logWith(1, a, b).published())?.size, 700);
  t.is((await logWith(2, a, b).published())?.size, 10);
});

test('with a quorum, that is published which so many witnesses cosigned', async (t) => {
  await using a = await startWitness('a.example');
  await using b = await startWitness('b.example');
  await using c = await startWitness('c.example');
  const sizes = async (): Promise<(number | undefined)[]> =>
    Promise.all([0, 1, 2, 3].map(async (quorum) => (await logWith(quorum, a, b, c).published())?.size));
  // Until any is cosigned, the latest is better than nothing.
  t.deepEqual(await sizes(), [700, 700, 700, 700]);
  await keep(a, 300);
  t.deepEqual(await sizes(), [700, 300, 700, 700]);
  await keep(b, 300);
  await keep(a, 700);
  t.deepEqual(await sizes(), [700, 700, 300, 700]);
  await keep(c, 300);
  t.deepEqual(await sizes(), [700, 700, 300, 300]);
  await keep(c, 700);
  t.deepEqual(await sizes(), [700, 700, 700, 300]);
  // In the order of the settings, whoever came first.
  const { signatures } = parseNote((await logWith(2, c, b, a).published())?.note ?? '');
  t.deepEqual(
    signatures.map(({ name }) => name),
    ['carnet.local/log', 'c.example', 'a.example'],
  );
});
