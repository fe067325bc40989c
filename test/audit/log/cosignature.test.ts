import test from 'ava';
import {
  checkWitnesses,
  cosignaturesOf,
  formatWitnessKey,
  parseWitnessKey,
  witnessId,
} from '../../../src/audit/log/cosignature.ts';
import { isSignedBy, parseNote, parseSignatures, parseVerifierKey } from '../../../src/audit/log/note.ts';
import { errorCodeOf } from '../../../src/errors.ts';
import { newCosigner } from './cosigner.ts';

/** By filippo.io/torchwood v0.9.0 (CosignatureSigner) and golang.org/x/mod/sumdb/note, from fixed seeds. */
const LOG = 'carnet.example/log+d5cd2ed8+Af0XJDhaoMdbZPt4zWAvodmR/ev3axPFjtcC6sg16fYY';
const WITNESS = 'witness.example/w1+aa4a09d1+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs';
const TEXT = 'carnet.example/log\n123\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n';
const BY_LOG =
  '\u2014 carnet.example/log 1c0u2PMueCVyxfOtV2cCQcn7GC5rSL0begvU5q6/o1E/IPTE8SnIQ2ej2iqYEIXkFrg9BPY5WKp0QPcF6EaWPs6aTwE=\n';
const BY_WITNESS =
  '\u2014 witness.example/w1 qkoJ0QAAAABrA//zLjp7usJkTJAym0aoApF6Y78bf/LOD9HacliK3NHayD9slmE2n6G+IGe1PGpKV6EOHlyUPN7fWAaIOzBtyFCqDQ==\n';
const NOTE = `${TEXT}\n${BY_LOG}${BY_WITNESS}`;

const witness = parseWitnessKey(WITNESS);

test('a cosignature that an implementation of others made verifies, beside the signature of the log', (t) => {
  const note = parseNote(NOTE);
  t.true(isSignedBy(note, parseVerifierKey(LOG)));
  t.like(cosignaturesOf(note, [witness]), [{ witness, signedAt: 1_795_424_243 }]);
  t.is(formatWitnessKey(witness), WITNESS);
  t.is(witnessId(witness), 'witness.example/w1+aa4a09d1');
});

test('a cosignature of another text, time or key is turned down with the whole note', (t) => {
  const refused = (note: string): void => {
    t.is(errorCodeOf(t.throws(() => cosignaturesOf(parseNote(note), [witness]))), 'invalid_argument');
  };
  refused(NOTE.replace('\n123\n', '\n124\n'));
  refused(NOTE.replace('qkoJ0QAAAABrA//z', 'qkoJ0QAAAABrA//0'));
  refused(NOTE.replace('OlyUPN', 'OlyUPM').replace('HlyUPN', 'HlyUPM'));
  // A good one beside it does not make up for it.
  refused(`${NOTE}${BY_WITNESS.replace('rA//z', 'rA//0')}`);
  // Without a time; and with what is shorter or longer than a signature.
  for (const bytes of [Buffer.alloc(72), Buffer.alloc(71, 1), Buffer.alloc(73, 1)])
    refused(`${TEXT}\n\u2014 witness.example/w1 ${withKeyId(bytes)}\n`);
});

for (const type of [4, 6] as const)
  test(`cosignatures of type 0${type} are taken of the witness that made them, and of no other`, (t) => {
    const one = newCosigner('one.example', type);
    const other = newCosigner('other.example', type);
    const note = parseNote(`${TEXT}\n${BY_LOG}${one.cosign(TEXT, 7)}`);
    t.like(cosignaturesOf(note, [other.key, one.key]), [{ witness: one.key, signedAt: 7 }]);
    t.deepEqual(cosignaturesOf(note, [other.key]), []);
    // The same name is not the same witness.
    t.deepEqual(cosignaturesOf(note, [newCosigner('one.example', type).key]), []);
    t.throws(() => cosignaturesOf({ ...note, text: TEXT.replace('123', '124') }, [one.key]));
    t.is(formatWitnessKey(parseWitnessKey(one.vkey)), one.vkey);
  });

test('of several cosignatures by one witness the latest counts, once', (t) => {
  const { key, cosign } = newCosigner('one.example');
  const note = `${TEXT}\n${BY_LOG}${cosign(TEXT, 5)}${cosign(TEXT, 9)}${cosign(TEXT, 7)}`;
  t.deepEqual(
    checkWitnesses(note, { witnesses: [key], quorum: 1 }).map(({ signedAt }) => signedAt),
    [9],
  );
});

test('a quorum is met by enough of the witnesses, whichever, and the refusal names the others', (t) => {
  const [a, b, c] = [newCosigner('a.example'), newCosigner('b.example'), newCosigner('c.example', 6)];
  const witnesses = [a.key, b.key, c.key];
  const note = `${TEXT}\n${BY_LOG}${c.cosign(TEXT)}${a.cosign(TEXT)}`;
  t.deepEqual(
    checkWitnesses(note, { witnesses, quorum: 2 }).map((one) => one.witness),
    [a.key, c.key],
  );
  const refusal = t.throws(() => checkWitnesses(note, { witnesses, quorum: 3 }));
  t.is(errorCodeOf(refusal), 'conflict');
  t.regex(refusal?.message ?? '', /b\.example/);
  t.notRegex(refusal?.message ?? '', /a\.example/);
});

for (const [what, text] of [
  ['of a log', LOG],
  ['with another key ID', WITNESS.replace('aa4a09d1', 'aa4a09d2')],
  ['that is cut off', `${WITNESS.slice(0, -4)}`],
  ['of nothing', ''],
] as const)
  test(`refuses the key of a witness ${what}`, (t) => {
    t.is(errorCodeOf(t.throws(() => parseWitnessKey(text))), 'invalid_argument');
  });

test('signature lines are read by themselves; nothing else is', (t) => {
  t.is(parseSignatures(`${BY_LOG}${BY_WITNESS}`).length, 2);
  for (const text of ['', 'hello\n', BY_LOG.slice(0, -1), `\n${BY_LOG}`, `text\n\n${BY_LOG}`])
    t.is(errorCodeOf(t.throws(() => parseSignatures(text))), 'invalid_argument', JSON.stringify(text));
});

function withKeyId(bytes: Buffer): string {
  return Buffer.concat([Buffer.from('aa4a09d1', 'hex'), bytes]).toString('base64');
}
