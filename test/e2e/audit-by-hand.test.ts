import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { formatVerifierKey, noteKeyOf, parseVerifierKey } from '../../src/audit/log/note.ts';
import { startLitewitness } from '../audit/litewitness.ts';
import { newCosigner } from '../audit/log/cosigner.ts';
import { installed } from '../support/apt.ts';
import { type CarnetProcess, type Ended, endOf, startCarnet } from '../support/carnet.ts';
import { buildGo, hasGo } from '../support/go.ts';
import { until } from '../support/until.ts';

const DOCUMENT = readFileSync(join(import.meta.dirname, '../../docs/AUDIT-BY-HAND.md'), 'utf8');
const SHELL = blocksOf('sh');
const [PROGRAM = ''] = blocksOf('go');
const MODULE = join(import.meta.dirname, '../audit/go');
/** Behind the block that fetches, a server that lies could have said this. */
const FETCHED = 'jq -e .log issuance.json';

function blocksOf(language: string): string[] {
  return [...DOCUMENT.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, code = '']) => code,
  );
}

test('the session by hand checks a certificate up to the cosignature of a witness, and fails for every lie', async (t) => {
  if (!hasGo()) {
    t.log('left out: there is no Go on this machine, and so no witness');
    return t.pass();
  }
  for (const [tool, debian] of [
    ['curl', 'curl'],
    ['jq', 'jq'],
    ['xxd', 'xxd'],
    ['openssl', 'openssl'],
  ] as const)
    installed([`/usr/bin/${tool}`], debian);
  await using witness = await startLitewitness('witness.example/real');
  const flags = ['--witness', `${witness.vkey} ${witness.url}`, '--witness-interval', '1s'];
  await using carnet = await startCarnet([...flags, '--grpc-addr', 'off']);
  const directory = join(carnet.dataDir, 'auditor');
  const file = (name: string): string => join(directory, name);
  mkdirSync(directory);
  const fetched = await carnet.cli('fetch', '--wait', '--timeout', '60', '--write', directory);
  t.is(fetched.code, 0, fetched.stderr);
  copyFileSync(file('svid.pem'), file('web.pem'));
  copyFileSync(join(carnet.dataDir, 'auditor.token'), file('auditor.token'));
  const vkey = await until('the log has begun', async () => {
    const response = await fetch(`${carnet.url}/log/vkey`);
    return response.ok && response.text();
  });
  writeFileSync(file('log.vkey'), vkey);
  writeFileSync(file('witness.vkey'), `${witness.vkey}\n`);
  witness.addLog(vkey.trim());
  await untilCosigned(carnet, file('web.pem'));

  const session = await run(carnet, directory, SHELL.join('\n'));
  t.is(session.code, 0, `${session.stdout}\n${session.stderr}`);
  t.regex(session.stdout, /the certificate is entry \d+ of \d+\n/);
  t.regex(session.stdout, /identity: spiffe:\/\/carnet\.local\//);
  t.regex(session.stdout, /the witness witness\.example\/real saw this tree by 2\d{3}-/);
  t.log(session.stdout.trim().split('\n').slice(-4).join('\n'));

  for (const [lie, filter, fault] of LIES) {
    const told = `${filter} issuance.json > lie.json && mv lie.json issuance.json\n${FETCHED}`;
    const misled = await run(
      carnet,
      directory,
      SHELL.join('\n').replace(FETCHED, () => `jq ${told}`),
    );
    t.is(misled.code, 1, `${lie}: ${misled.stdout}`);
    t.regex(misled.stderr, fault, lie);
  }
  for (const [name, other] of [
    ['log.vkey', anotherKeyOf(vkey)],
    ['witness.vkey', newCosigner('witness.example/real').vkey],
    ['web.pem', forgedLike(file('web.pem'), directory)],
  ] as const) {
    const kept = readFileSync(file(name), 'utf8');
    writeFileSync(file(name), other);
    t.is((await run(carnet, directory, SHELL.join('\n'))).code, 1, name);
    writeFileSync(file(name), kept);
  }

  await run(carnet, directory, SHELL.join('\n'));
  const program = buildProgram(carnet.dataDir);
  const check = (pem: string, key: string): Promise<Ended> =>
    run(carnet, directory, `${program} ${pem} log.vkey ${key} < issuance.json`);
  const checked = await check('web.pem', 'witness.vkey');
  t.is(checked.code, 0, checked.stderr);
  t.regex(checked.stdout, /^the certificate is entry \d+ of \d+\n$/);
  t.is((await check('bundle.pem', 'witness.vkey')).code, 1);
  writeFileSync(file('other.vkey'), newCosigner('witness.example/real').vkey);
  t.is((await check('web.pem', 'other.vkey')).code, 1);
});

/** By jq: what is told, and what the session says to it. */
const LIES: readonly (readonly [string, string, RegExp])[] = [
  ['another place', `'.log.index += 1'`, /FAILED: the (entry is|proof is)/],
  ['a place outside', `'.log.index = 1000000'`, /FAILED: the entry is outside of the tree/],
  ['a proof without its end', `'.log.inclusion_proof |= .[:-1]'`, /FAILED: the proof is too short/],
  [
    'a longer proof',
    `'.log.inclusion_proof += ["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]'`,
    /FAILED: the proof is too long/,
  ],
  [
    'another hash',
    `'.log.inclusion_proof[0] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="'`,
    /FAILED: the entry is not in the/,
  ],
  [
    'a tree of its own',
    `'.log.checkpoint |= (split("\\n") | .[2] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" | join("\\n"))'`,
    /FAILED: the entry is not in the tree/,
  ],
  [
    'a checkpoint of another size',
    `'.log.checkpoint |= (split("\\n") | .[1] |= (tonumber + 1000000 | tostring) | join("\\n"))'`,
    /FAILED/,
  ],
  [
    'a checkpoint without a cosignature',
    `'.log.checkpoint |= (split("\\n") | .[:5] + [""] | join("\\n"))'`,
    /FAILED: it has no cosignature of the witness/,
  ],
  [
    'a spoilt signature',
    `'.log.checkpoint |= (split("\\n") | .[4] |= (.[:40] + "AAAA" + .[44:]) | join("\\n"))'`,
    /FAILED: the log did not sign it/,
  ],
];

async function untilCosigned(carnet: CarnetProcess, pem: string): Promise<void> {
  const serial = serialOf(pem);
  await until('the witness has cosigned the certificate', async () => {
    const { log } = (await carnet.call('GET', `/v1/issuances/${serial}`)) as {
      log: { checkpoint: string } | null;
    };
    return log?.checkpoint.includes('witness.example') === true;
  });
}

function run(carnet: CarnetProcess, cwd: string, script: string): Promise<Ended> {
  const env = { ...process.env, CARNET: carnet.url };
  const child = spawn('bash', ['-c', script], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  return endOf(child);
}

/** A certificate of the same serial, by a key of anybody. */
function forgedLike(pem: string, directory: string): string {
  const name = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=forged'];
  const files = ['-keyout', join(directory, 'forged.key'), '-set_serial', `0x${serialOf(pem)}`];
  return execFileSync('openssl', ['req', '-x509', ...name, ...files], { encoding: 'utf8', stdio: 'pipe' });
}

function serialOf(pem: string): string {
  const text = execFileSync('openssl', ['x509', '-in', pem, '-noout', '-serial'], { encoding: 'utf8' });
  return text.trim().replace('serial=', '');
}

/** As `go mod tidy` would have it, at versions that we know. */
function buildProgram(parent: string): string {
  const directory = join(parent, 'check');
  mkdirSync(directory);
  for (const name of ['go.mod', 'go.sum']) copyFileSync(join(MODULE, name), join(directory, name));
  writeFileSync(join(directory, 'main.go'), PROGRAM);
  return buildGo(directory, 'audit-by-hand');
}

function anotherKeyOf(vkey: string): string {
  const { name } = parseVerifierKey(vkey.trim());
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.alloc(32, 7)]);
  return formatVerifierKey(noteKeyOf(name, spki));
}
