import test from 'ava';
import { openCheckpoint, parseCheckpoint } from '../../src/audit/log/checkpoint.ts';
import { witnessId } from '../../src/audit/log/cosignature.ts';
import { leafHash } from '../../src/audit/log/merkle.ts';
import { parseNote, parseVerifierKey } from '../../src/audit/log/note.ts';
import { checkInclusion } from '../../src/audit/log/proof.ts';
import { newCosigner } from '../audit/log/cosigner.ts';
import { type Api, assertDocumented, call, makeCertificate, makeIssuance, startApi } from './harness.ts';

const ENTRIES = 300;
const FOR_EVER = 31_536_000;

function fill(api: Api): Buffer[] {
  const entries = Array.from({ length: ENTRIES }, (_, i) => Buffer.from(`entry ${i}`));
  api.auditLog.entriesInLog = entries;
  return entries;
}

async function bytes(api: Api, path: string, token: string | null = null): Promise<Buffer> {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(api.url + path, { headers });
  return Buffer.from(await response.arrayBuffer());
}

test('the checkpoint verifies under the published key, without a token', async (t) => {
  const api = await startApi(t);
  t.is((await call(api, 'GET', '/log/checkpoint', { as: 'none' })).status, 404);
  fill(api);
  const key = parseVerifierKey((await call(api, 'GET', '/log/vkey', { as: 'none' })).text.trimEnd());
  const { text, headers } = await call(api, 'GET', '/log/checkpoint', { as: 'none' });
  t.is(openCheckpoint(text, key).size, ENTRIES);
  t.is(headers.get('content-type'), 'text/plain; charset=utf-8');
  t.is(headers.get('cache-control'), 'no-store');
});

test('tiles have the hashes of their level, and are cached for ever by everybody', async (t) => {
  const api = await startApi(t);
  const entries = fill(api);
  t.deepEqual(await bytes(api, '/log/tile/0/000'), Buffer.concat(entries.slice(0, 256).map(leafHash)));
  t.deepEqual(await bytes(api, '/log/tile/0/001.p/44'), Buffer.concat(entries.slice(256).map(leafHash)));
  t.deepEqual(await bytes(api, '/log/tile/0/001.p/2'), Buffer.concat(entries.slice(256, 258).map(leafHash)));
  t.is((await bytes(api, '/log/tile/1/000.p/1')).length, 32);
  const { headers } = await call(api, 'GET', '/log/tile/0/000', { as: 'none' });
  t.is(headers.get('cache-control'), `public, max-age=${FOR_EVER}`);
});

test('bundles have the entries, and are for auditors alone and in no cache', async (t) => {
  const api = await startApi(t);
  fill(api);
  const bundle = await bytes(api, '/log/tile/entries/001.p/2', api.bearers.auditor);
  t.is(bundle.toString('latin1'), '\0\u0009entry 256\0\u0009entry 257');
  const { headers } = await call(api, 'GET', '/log/tile/entries/000', { as: 'auditor' });
  t.is(headers.get('cache-control'), 'no-store');
  t.is(headers.get('etag'), null);
  for (const path of ['/log/tile/entries/000', '/log/tile/entries%2F000', '/log/tile/entries%2f000/000'])
    t.not((await call(api, 'GET', path, { as: 'none' })).status, 200, path);
  t.is((await call(api, 'GET', '/log/tile/entries/000', { as: 'none' })).status, 401);
});

for (const path of [
  '/log/tile/0/001',
  '/log/tile/0/001.p/45',
  '/log/tile/0/002.p/1',
  '/log/tile/1/000.p/2',
  '/log/tile/1/000',
  '/log/tile/0/1',
  '/log/tile/0/..',
  '/log/tile/0/000.p/0',
  '/log/tile/0/x000/000',
  '/log/tile/entries/001.p/45',
])
  test(`there is nothing at ${path} of a log of ${ENTRIES} entries`, async (t) => {
    const api = await startApi(t);
    fill(api);
    t.is((await call(api, 'GET', path)).status, 404);
  });

test('an issuance comes with its entry and the proof that it is in the log', async (t) => {
  const api = await startApi(t);
  const issuance = makeIssuance(7, await makeCertificate('leaf'));
  api.issuances.issuances.push(issuance);
  const path = `/v1/issuances/${issuance.serial}`;
  t.is((await call(api, 'GET', path)).json.log, null);
  const entries = fill(api);
  api.auditLog.serials = ['', '', issuance.serial];
  const answer = await call(api, 'GET', path);
  const { json: document } = await call(api, 'GET', '/v1/openapi.json');
  assertDocumented(t, document, ['GET', '/v1/issuances/{serial}'], answer);
  const { index, entry, inclusion_proof, checkpoint } = answer.json.log;
  t.is(index, 2);
  t.deepEqual(Buffer.from(entry, 'base64'), entries[2]);
  const key = parseVerifierKey((await call(api, 'GET', '/log/vkey')).text.trimEnd());
  const proof = inclusion_proof.map((hash: string) => Buffer.from(hash, 'base64'));
  t.true(checkInclusion(2, leafHash(Buffer.from(entry, 'base64')), openCheckpoint(checkpoint, key), proof));
});

test('evidence of an issuance has its entry and proof in the tree of its checkpoint, once it is in the log', async (t) => {
  const api = await startApi(t);
  const issuance = makeIssuance(7, await makeCertificate('leaf'));
  const path = `/v1/issuances/${issuance.serial}/evidence`;
  t.is((await call(api, 'GET', path)).status, 404);
  api.issuances.issuances.push(issuance);
  t.is((await call(api, 'GET', path)).status, 503);
  const entries = fill(api);
  api.auditLog.serials = ['', '', issuance.serial];
  const answer = await call(api, 'GET', path, { as: 'auditor' });
  const { json: document } = await call(api, 'GET', '/v1/openapi.json');
  assertDocumented(t, document, ['GET', '/v1/issuances/{serial}/evidence'], answer);
  const { verifier_key, checkpoint, issuance: logged, rule, revocation } = answer.json;
  t.deepEqual([rule, revocation], [null, null]);
  t.deepEqual(Buffer.from(logged.entry, 'base64'), entries[2]);
  const proof = logged.inclusion_proof.map((hash: string) => Buffer.from(hash, 'base64'));
  const tree = openCheckpoint(checkpoint, parseVerifierKey(verifier_key));
  t.true(checkInclusion(logged.index, leafHash(Buffer.from(logged.entry, 'base64')), tree, proof));
});

test('the state of the log says how much is in it, and since when the oldest record waits', async (t) => {
  const api = await startApi(t);
  fill(api);
  api.auditLog.waiting = new Date(api.time.now);
  const { json } = await call(api, 'GET', '/v1/log', { as: 'auditor' });
  t.like(json, { origin: 'carnet.local/log', size: ENTRIES, waiting_since: '2026-03-10T12:00:00.000Z' });
  t.is((await call(api, 'GET', '/v1/log', { as: 'none' })).status, 401);
});

test('the checkpoint that is published has the cosignatures of its witnesses behind the signature of the log', async (t) => {
  const api = await startApi(t);
  fill(api);
  const line = '\u2014 witness.example/w1 qkoJ0QAAAABrA//zLg==\n';
  api.auditLog.cosigned = { size: 290, lines: line };
  const published = async () => (await call(api, 'GET', '/log/checkpoint', { as: 'none' })).text;
  t.regex(await published(), new RegExp(`^carnet.local/log\n${ENTRIES}\n`));
  api.auditLog.quorum = 1;
  const note = parseNote(await published());
  t.deepEqual(
    note.signatures.map(({ name }) => name),
    ['carnet.local/log', 'witness.example/w1'],
  );
  t.is(parseCheckpoint(note.text).size, 290);
  // What comes after it is there to be read all the same.
  t.is((await call(api, 'GET', '/log/tile/0/001.p/44', { as: 'none' })).status, 200);
});

test('the proof of an issuance is of a checkpoint with cosignatures, where one covers it', async (t) => {
  const api = await startApi(t);
  const issuance = makeIssuance(7, await makeCertificate('leaf'));
  api.issuances.issuances.push(issuance);
  const entries = fill(api);
  const sizeOf = async (): Promise<number | undefined> => {
    const { json } = await call(api, 'GET', `/v1/issuances/${issuance.serial}`);
    const { index, inclusion_proof: proof, checkpoint } = json.log;
    const tree = parseCheckpoint(parseNote(checkpoint).text);
    const hashes = proof.map((hash: string) => Buffer.from(hash, 'base64'));
    t.true(checkInclusion(index, leafHash(entries[index] as Buffer), tree, hashes));
    return tree.size;
  };
  api.auditLog.serials = [issuance.serial];
  t.is(await sizeOf(), ENTRIES);
  api.auditLog.cosigned = { size: 290, lines: '' };
  t.is(await sizeOf(), 290);
  api.auditLog.serials = [...Array<string>(290).fill(''), issuance.serial];
  t.is(await sizeOf(), ENTRIES);
});

test('the state of each witness is shown', async (t) => {
  const api = await startApi(t);
  fill(api);
  const { key, vkey } = newCosigner('witness.example/w1');
  const since = new Date('2026-03-01T12:00:00Z');
  const problem = { code: 'unreachable', reason: 'it fails (503)', since } as const;
  const witness = { id: witnessId(key), key, url: 'https://witness.example', size: 290 };
  api.auditLog.states = [{ ...witness, cosignedAt: since, behindSince: since, problem }];
  const { json } = await call(api, 'GET', '/v1/log');
  t.deepEqual(json.witnesses, [
    {
      id: witness.id,
      verifier_key: vkey,
      url: witness.url,
      size: 290,
      cosigned_at: since.toISOString(),
      behind_since: since.toISOString(),
      problem: { ...problem, since: since.toISOString() },
    },
  ]);
});
