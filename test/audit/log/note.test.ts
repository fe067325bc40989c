import { generateKeyPairSync, sign } from 'node:crypto';
import test from 'ava';
import { encodeCheckpoint, openCheckpoint, parseCheckpoint } from '../../../src/audit/log/checkpoint.ts';
import { EMPTY_ROOT } from '../../../src/audit/log/merkle.ts';
import {
  encodeNote,
  formatVerifierKey,
  isSignedBy,
  noteKeyOf,
  noteSignature,
  parseNote,
  parseVerifierKey,
} from '../../../src/audit/log/note.ts';
import { errorCodeOf } from '../../../src/errors.ts';

/** The example of C2SP signed-note and of golang.org/x/mod/sumdb/note. */
const VERIFIER = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const TEXT =
  'If you think cryptography is the answer to your problem,\nthen you don\u2019t know what your problem is.\n'.replace(
    '\u2019',
    "'",
  );
const SIGNATURE =
  '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';
const NOTE = `${TEXT}\n${SIGNATURE}`;

const pair = generateKeyPairSync('ed25519');
const key = noteKeyOf('carnet.local/log', pair.publicKey.export({ format: 'der', type: 'spki' }));
const signed = (text: string): string =>
  encodeNote({ text, signatures: [noteSignature(key, sign(null, Buffer.from(text), pair.privateKey))] });

test('the published example of a signed note verifies, and is written as it was read', (t) => {
  const published = parseVerifierKey(VERIFIER);
  t.is(formatVerifierKey(published), VERIFIER);
  const note = parseNote(NOTE);
  t.is(note.text, TEXT);
  t.true(isSignedBy(note, published));
  t.is(encodeNote(note), NOTE);
});

test('a note with one byte of its text or signature changed does not verify', (t) => {
  const published = parseVerifierKey(VERIFIER);
  t.false(isSignedBy(parseNote(NOTE.replace('answer', 'answeR')), published));
  t.false(isSignedBy(parseNote(NOTE.replace('NXgKv', 'NXgKw')), published));
  t.false(isSignedBy(parseNote(NOTE), key));
});

test('signatures by others are passed over; one by us that is wrong is not', (t) => {
  const checkpoint = encodeCheckpoint({ origin: key.name, size: 0, root: EMPTY_ROOT });
  const note = parseNote(signed(checkpoint));
  const [ours] = note.signatures;
  if (ours === undefined) return t.fail();
  t.true(isSignedBy({ ...note, signatures: [...parseNote(NOTE).signatures, ours] }, key));
  const wrong = { ...ours, signature: ours.signature.map((byte) => byte ^ 1) };
  t.false(isSignedBy({ ...note, signatures: [ours, wrong] }, key));
});

for (const [what, text] of [
  ['no signature', `${TEXT}\n`],
  ['no empty line', `${TEXT}${SIGNATURE}`],
  ['no newline at its end', NOTE.slice(0, -1)],
  ['a control character', NOTE.replace('answer', 'ans\twer')],
  ['a hyphen for the dash', NOTE.replace('\u2014', '-')],
  ['a signature that is not base64', NOTE.replace('x08go', 'x08g*')],
  ['a signature of no bytes', `${TEXT}\n\u2014 PeterNeumann x08gow==\n`],
  ['nothing', ''],
  ['more than a note may have', `${'a'.repeat(70_000)}\n\n${SIGNATURE}`],
] as const)
  test(`refuses a note with ${what}`, (t) => {
    t.is(errorCodeOf(t.throws(() => parseNote(text))), 'invalid_argument');
  });

for (const [what, text] of [
  ['another key ID', VERIFIER.replace('c74f20a3', 'c74f20a4')],
  ['another name', VERIFIER.replace('Peter', 'peter')],
  ['another type', 'PeterNeumann+c74f20a3+AhpcQcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'],
  ['no key', 'PeterNeumann+c74f20a3+'],
  ['a space in its name', VERIFIER.replace('Peter', 'Peter ')],
] as const)
  test(`refuses a verifier key with ${what}`, (t) => {
    t.is(errorCodeOf(t.throws(() => parseVerifierKey(text))), 'invalid_argument');
  });

test('notes are signed by Ed25519 keys only', (t) => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = ec.publicKey.export({ format: 'der', type: 'spki' });
  t.is(errorCodeOf(t.throws(() => noteKeyOf('a', spki))), 'key_unsupported');
});

test('a checkpoint is read as it was written, also with lines of extensions', (t) => {
  const checkpoint = { origin: key.name, size: 12345678901, root: EMPTY_ROOT };
  const text = encodeCheckpoint(checkpoint);
  t.deepEqual(parseCheckpoint(text), { ...checkpoint, root: Buffer.from(EMPTY_ROOT) });
  t.is(openCheckpoint(signed(`${text}more\n`), key).size, checkpoint.size);
});

for (const [what, text] of [
  ['a size with a leading zero', `o\n01\n${Buffer.from(EMPTY_ROOT).toString('base64')}\n`],
  ['a size that is none', `o\n-1\n${Buffer.from(EMPTY_ROOT).toString('base64')}\n`],
  ['a size past 2^53', `o\n9007199254740993\n${Buffer.from(EMPTY_ROOT).toString('base64')}\n`],
  ['a short root', 'o\n1\nAAAA\n'],
  ['no root', 'o\n1\n'],
  ['no origin', `\n1\n${Buffer.from(EMPTY_ROOT).toString('base64')}\n`],
] as const)
  test(`refuses a checkpoint with ${what}`, (t) => {
    t.is(errorCodeOf(t.throws(() => parseCheckpoint(text))), 'invalid_argument');
  });

test('a checkpoint of another log, or by another key, is not ours', (t) => {
  const other = signed(encodeCheckpoint({ origin: 'other/log', size: 0, root: EMPTY_ROOT }));
  t.is(errorCodeOf(t.throws(() => openCheckpoint(other, key))), 'invalid_argument');
  t.is(errorCodeOf(t.throws(() => openCheckpoint(NOTE, key))), 'invalid_argument');
});
