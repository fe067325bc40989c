import test from 'ava';
import { witnessId } from '../../src/audit/log/cosignature.ts';
import { parseNote } from '../../src/audit/log/note.ts';
import { auditCommand } from '../../src/cli/audit.ts';
import { witnessPolicyOf } from '../../src/cli/witness-policy.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { type Cosigner, newCosigner } from '../audit/log/cosigner.ts';
import { fillLog, SIZE } from '../audit/tampering.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { sequenceAll } from '../db/log-fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { runCommand } from './harness.ts';

/** Two witnesses cosigned the first SIZE entries; one of them, and one by a false text, those of two more. */
const created = await createDatabase();
const database = openDatabase(created.url);
const [one, two, false_, none] = ['one', 'two', 'false', 'none'].map((name) => newCosigner(name)) as [
  Cosigner,
  Cosigner,
  Cosigner,
  Cosigner,
];
const TIME = 1_795_424_243;

async function cosign(cosigner: Cosigner, change = (text: string): string => text): Promise<void> {
  const log = new PostgresLog(database);
  const head = await log.head();
  const line = cosigner.cosign(change(parseNote(head?.note ?? '').text), TIME);
  const witness = { id: witnessId(cosigner.key), key: cosigner.key, url: '' };
  await log.insertCosignature(witness, head?.size ?? 0, line);
}

test.before(async () => {
  await fillLog(database);
  await cosign(one);
  await cosign(two);
  await insertIssuances(database, [issuance(), issuance()]);
  await sequenceAll(database, SIZE + 2);
  await cosign(two);
  await cosign(false_, (text) => text.replace(`\n${SIZE + 2}\n`, `\n${SIZE + 3}\n`));
});
test.after.always(async () => {
  await database.close();
  await created.drop();
});

const verify = (...args: string[]) =>
  runCommand(auditCommand, ['verify', '--database-url', created.url, ...args]);
const by = (...cosigners: Cosigner[]): string[] => cosigners.flatMap(({ vkey }) => ['--witness', vkey]);

test('verify tells how far the witnesses that are asked for vouch for the log', async (t) => {
  const { code, stdout, stderr } = await verify(...by(two));
  t.is(code, 0, stderr);
  t.regex(
    stdout,
    new RegExp(`the first ${SIZE + 2} are cosigned by two\\+\\w{8} at 2026-11-23T08:57:23.000Z`),
  );
  const both = await verify(...by(one, two), '--json');
  t.like(JSON.parse(both.stdout), { ok: true, size: SIZE + 2, witnessed: { size: SIZE } });
  t.is(JSON.parse(both.stdout).witnessed.cosignatures.length, 2);
  const either = await verify(...by(one, two, none), '--witness-quorum', '1', '--json');
  t.like(JSON.parse(either.stdout).witnessed, { size: SIZE + 2 });
  t.is(JSON.parse((await verify('--json')).stdout).witnessed, null);
});

for (const [what, flags, fault] of [
  ['that never cosigned', by(none), /no checkpoint was cosigned by 1 of none\+/],
  ['of whom too few cosigned', by(one, two, none), /no checkpoint was cosigned by 3 of/],
  ['whose cosignature is of something else', by(false_), /that says it is by false\+\w+ does not verify/],
] as const)
  test(`verify fails for witnesses ${what}`, async (t) => {
    const { code, stdout, stderr } = await verify(...flags, '--json');
    t.is(code, 1);
    t.regex(stderr, fault);
    t.like(JSON.parse(stdout), { ok: false, witnessed: null });
  });

for (const [what, flags] of [
  ['a key that is none', ['--witness', 'hello']],
  ['a quorum of more than are given', [...by(one), '--witness-quorum', '2']],
  ['a quorum of one that is given twice', [...by(one, one), '--witness-quorum', '2']],
  ['a quorum of none', [...by(one), '--witness-quorum', '0']],
  ['a quorum without witnesses', ['--witness-quorum', '1']],
] as const)
  test(`verify refuses ${what}`, async (t) => {
    t.not((await verify(...flags)).code, 0);
  });

test('a witness that is given twice does not count twice, of whatever it cosigned', (t) => {
  const { vkey } = two;
  t.throws(() => witnessPolicyOf({ witness: [vkey, vkey, none.vkey], witnessQuorum: '2' }), {
    code: 'config_invalid',
    message: /have the same key/,
  });
});
