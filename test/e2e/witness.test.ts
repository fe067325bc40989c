import { execFileSync } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';
import test from 'ava';
import { checkEvidence, EvidenceBundle } from '../../src/audit/evidence.ts';
import { openCheckpoint, parseCheckpoint } from '../../src/audit/log/checkpoint.ts';
import { checkWitnesses, parseWitnessKey } from '../../src/audit/log/cosignature.ts';
import { parseNote, parseVerifierKey } from '../../src/audit/log/note.ts';
import { startLitewitness } from '../audit/litewitness.ts';
import { newCosigner } from '../audit/log/cosigner.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { hasGo } from '../support/go.ts';
import { until } from '../support/until.ts';

interface LogState {
  readonly size: number;
  readonly published_size: number;
  readonly witnesses: readonly {
    readonly size: number;
    readonly problem: { readonly code: string } | null;
  }[];
}

const stateOf = async (carnet: CarnetProcess): Promise<LogState> =>
  (await carnet.call('GET', '/v1/log')) as LogState;
const textOf = async (carnet: CarnetProcess, path: string): Promise<string> =>
  (await fetch(carnet.url + path)).text();

function start(...witnesses: readonly string[]): Promise<CarnetProcess> {
  const flags = witnesses.flatMap((witness) => ['--witness', witness]);
  return startCarnet([...flags, '--witness-interval', '1s', '--no-agent', '--grpc-addr', 'off']);
}

async function change(carnet: CarnetProcess, id: string): Promise<void> {
  await carnet.call('POST', '/v1/entries', { id, spiffe_id: `/${id}`, selectors: ['unix:uid:1'] });
}

/** Waits until the witness has cosigned all that there is, more than `before`, and returns how much. */
function untilCosigned(carnet: CarnetProcess, before = 0): Promise<number> {
  return until('the witness has cosigned all', async () => {
    const { size, witnesses } = await stateOf(carnet);
    return size > before && witnesses.some((one) => one.size === size) && size;
  });
}

function untilProblem(carnet: CarnetProcess, code: string): Promise<unknown> {
  return until(`the witness is ${code}`, async () =>
    (await stateOf(carnet)).witnesses.some(({ problem }) => problem?.code === code),
  );
}

function keyOf(carnet: CarnetProcess): Promise<string> {
  return until('the log has begun', async () => {
    const text = await textOf(carnet, '/log/vkey');
    return text.includes('+') && text.trim();
  });
}

test('a witness of another maker cosigns the log, beside one that is dead, and its cosignature is in the evidence', async (t) => {
  if (!hasGo()) {
    t.log('left out: there is no Go on this machine');
    return t.pass();
  }
  await using witness = await startLitewitness('witness.example/real');
  const dead = newCosigner('dead.example').vkey;
  await using carnet = await start(`${witness.vkey} ${witness.url}`, `${dead} http://127.0.0.1:9`);
  const vkey = await keyOf(carnet);
  // A witness cosigns the logs that its operator chose.
  await untilProblem(carnet, 'unknown_log');
  const { stdout: doctor } = await carnet.cli('doctor');
  t.regex(doctor, /witness witness\.example\/real\+\w+ never cosigned/);
  witness.addLog(vkey);
  let size = await untilCosigned(carnet);
  for (const id of ['one', 'two', 'three']) {
    await change(carnet, id);
    size = await untilCosigned(carnet, size);
  }
  t.deepEqual(witness.logs(), [{ origin: 'carnet.local/log', size }]);

  const published = await textOf(carnet, '/log/checkpoint');
  t.is(openCheckpoint(published, parseVerifierKey(vkey)).size, size);
  const policy = { witnesses: [parseWitnessKey(witness.vkey)], quorum: 1 };
  const [cosignature] = checkWitnesses(published, policy);
  t.true(Math.abs((cosignature?.signedAt ?? 0) - Date.now() / 1000) < 600);
  t.deepEqual(
    parseNote(published).signatures.map(({ name }) => name),
    ['carnet.local/log', 'witness.example/real'],
  );

  const { items } = (await carnet.call('GET', '/v1/issuances')) as { items: { serial: string }[] };
  const { stdout: evidence } = await carnet.cli('audit', 'prove', items[0]?.serial ?? '');
  const bundle = EvidenceBundle.parse(JSON.parse(evidence));
  checkEvidence(bundle, vkey);
  t.is(checkWitnesses(bundle.log.checkpoint, policy).length, 1);

  const { stdout } = await carnet.cli('doctor');
  t.regex(
    stdout,
    new RegExp(`^ok +log +witness witness\\.example/real\\+\\w+ last cosigned size ${size}`, 'm'),
  );
  t.notRegex(stdout, /^fail +log +\d+ witnesses/m);
  // It is taken every few seconds.
  const metrics = await until('no entry is behind', async () => {
    const text = await textOf(carnet, '/metrics');
    return /carnet_log_witness_lag_entries\{witness="witness\.example\/real\+\w+"\} 0/.test(text) && text;
  });
  t.regex(
    metrics,
    /carnet_log_witness_failures_total\{witness="dead\.example\+\w+",reason="unreachable"\} [1-9]/,
  );
});

test('a database that was set back to a backup is given away by a witness: first it knows more, then another tree', async (t) => {
  if (!hasGo()) {
    t.log('left out: there is no Go on this machine');
    return t.pass();
  }
  await using witness = await startLitewitness('witness.example/real');
  await using carnet = await start(`${witness.vkey} ${witness.url}`);
  witness.addLog(await keyOf(carnet));
  const before = await untilCosigned(carnet);
  await carnet.stop();
  const backup = `${carnet.dataDir}.backup`;
  execFileSync('cp', ['-a', carnet.dataDir, backup]);
  await carnet.restart();
  await change(carnet, 'forgotten');
  const known = await untilCosigned(carnet, before);
  await carnet.stop();
  rmSync(carnet.dataDir, { recursive: true });
  renameSync(backup, carnet.dataDir);

  await carnet.restart();
  await untilProblem(carnet, 'ahead');
  const { code, stdout } = await carnet.cli('doctor');
  t.is(code, 1);
  t.regex(stdout, new RegExp(`fail  log .*it cosigned a tree of ${known} entries of this log`));
  t.regex(carnet.log(), /"level":50[^\n]*ALARM/);
  // What goes on from there is another history.
  for (let i = 0; (await stateOf(carnet)).size <= known; i++) await change(carnet, `another-${i}`);
  await untilProblem(carnet, 'forked');
  t.is((await carnet.cli('doctor')).code, 1);
  t.is(witness.logs()[0]?.size, known);
  // Nothing of it was ever published as witnessed.
  const text = parseNote(await textOf(carnet, '/log/checkpoint')).text;
  t.true(parseCheckpoint(text).size <= before);
});
