import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import pg from 'pg';
import { type CarnetProcess, directoryOf, runCarnet, spawnCarnet, startCarnet } from '../support/carnet.ts';
import { processesOf } from '../support/leftovers.ts';
import { until } from '../support/until.ts';
import { venvProgram } from '../support/venv.ts';

const KEY_ENCRYPTION_KEY = Buffer.alloc(32, 'k').toString('base64');
const TRUST_DOMAIN = 'file.test';
const ENTRY = { id: 'short', spiffe_id: '/short', ttl: '5s' };

let carnet: CarnetProcess;
let directory: string;

test.before('a server with settings from everywhere, which says all that it can', async () => {
  directory = await directoryOf(undefined);
  const config = join(directory, 'carnet.yaml');
  writeFileSync(
    config,
    `trust_domain: ${TRUST_DOMAIN}\nnode_name: from-file\nleaf_ttl: 1m\nlog_level: trace\n`,
  );
  carnet = await startCarnet(['--config', config, '--leaf-ttl', '3m'], {
    CARNET_LEAF_TTL: '2m',
    CARNET_NODE_NAME: 'from-environment',
    CARNET_KEY_ENCRYPTION_KEY: KEY_ENCRYPTION_KEY,
  });
});
test.after.always(() => carnet[Symbol.asyncDispose]());

test.serial('a flag wins over the environment, and that over the file', async (t) => {
  const [identity] = await json('fetch', '--json');
  t.true(String(identity?.spiffe_id).startsWith(`spiffe://${TRUST_DOMAIN}/user/`));
  const [issuance] = await json('audit', 'show', String(identity?.serial), '--json');
  t.is(issuance?.node, 'from-environment');
  const seconds = (Date.parse(String(identity?.not_after)) - Date.parse(String(identity?.not_before))) / 1000;
  // And 30 s for slow clocks.
  t.is(seconds, 180 + 30);
});

test.serial('--json prints documents and nothing else, whatever the command', async (t) => {
  const [{ serial } = { serial: '' }] = await json('fetch', '--json');
  const file = join(directory, 'entries.json');
  writeFileSync(file, JSON.stringify({ entries: [{ spiffe_id: '/a', selectors: ['unix:uid:4242'] }] }));
  const lines = 'entry create --spiffe-id /b --selector unix:uid:4243 --id b';
  const sides = '--listen 127.0.0.1:0 --app 127.0.0.1:1';
  const commands = [
    ['fetch'],
    ['entry', 'list'],
    lines.split(' '),
    ['entry', 'apply', '-f', file],
    ['entry', 'delete', 'b'],
    ['proxies'],
    ['root', 'status'],
    ['audit', 'search'],
    ['audit', 'show', String(serial)],
    ['token', 'create', '--name', 'eve', '--role', 'auditor'],
    ['token', 'list'],
    ['envoy', 'bootstrap', ...sides.split(' ')],
    ['db', 'url'],
    ['doctor'],
  ];
  for (const command of commands) {
    const documents = await json(...command, '--json');
    if (command[0] !== 'proxies') t.true(documents.length > 0, command.join(' '));
  }
});

test.serial(
  'fetch --watch --write --run keeps a key that fits its certificate, through rotations',
  async (t) => {
    t.timeout(400_000);
    const program = `unix:path:${process.execPath}`;
    await carnet.call('POST', '/v1/entries', {
      ...ENTRY,
      selectors: [`unix:uid:${process.getuid?.()}`, program],
    });
    const target = join(directory, 'identity');
    const seen = join(directory, 'serials');
    const command = `openssl x509 -in '${target}/svid.pem' -noout -serial >> '${seen}'`;
    const watch = spawnCarnet(['fetch', '--watch', '--json', '--write', target, '--run', command], {
      env: { CARNET_AGENT_SOCKET: carnet.agentSocket },
    });
    let stdout = '';
    watch.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');
    await until('there are files', () => readdirSync(directory).includes('serials'));
    let pairs = 0;
    while (linesOf(readFileSync(seen, 'utf8')).length < 4) {
      const [certificate, key, after] = ['svid.pem', 'svid.key', 'svid.pem'].map((name) =>
        readFileSync(join(target, name), 'utf8'),
      );
      // Replaced between the two: the next look is as good.
      if (certificate === undefined || key === undefined || certificate !== after) continue;
      pairs++;
      if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) t.fail('they do not fit');
      if (pairs % 20 === 0) await pause(1);
    }
    watch.kill('SIGINT');
    const [code] = (await once(watch, 'close')) as [number];
    await carnet.call('DELETE', '/v1/entries/short');
    t.log(`${pairs} pairs read, all of which fit`);
    t.is(code, 0);
    const printed = linesOf(stdout).map((line) => JSON.parse(line) as { spiffe_id: string; serial: string });
    t.deepEqual(
      new Set(printed.map(({ spiffe_id }) => spiffe_id)),
      new Set([`spiffe://${TRUST_DOMAIN}/short`]),
    );
    const serials = linesOf(readFileSync(seen, 'utf8')).map((line) =>
      line.replace('serial=', '').toLowerCase(),
    );
    t.deepEqual(
      printed.map(({ serial }) => serial.padStart(32, '0')),
      serials.map((serial) => serial.padStart(32, '0')),
    );
    t.is(new Set(serials).size, serials.length);
    t.is(statSync(join(target, 'svid.key')).mode & 0o777, 0o600);
    t.is(statSync(join(target, 'svid.pem')).mode & 0o777, 0o644);
    execFileSync('openssl', [
      'verify',
      // It lasts for 5 s only.
      '-no_check_time',
      '-CAfile',
      join(target, 'bundle.pem'),
      '-untrusted',
      join(target, 'svid.pem'),
      join(target, 'svid.pem'),
    ]);
  },
);

for (const sides of [
  '--listen 0.0.0.0:8443 --app 127.0.0.1:9000',
  '--listen [::1]:8443 --app localhost:9000 --allow spiffe://file.test/a --allow spiffe://file.test/b --delta',
  '--egress-listen 127.0.0.1:9001 --upstream payments:8443',
  '--listen 0.0.0.0:8443 --app 127.0.0.1:9000 --egress-listen 127.0.0.1:9001 --upstream payments:8443 --upstream-id spiffe://file.test/payments --node-id no --admin 127.0.0.1:0',
])
  test.serial(`Envoy accepts: envoy bootstrap ${sides}`, async (t) => {
    for (const format of [[], ['--json']]) {
      const { code, stdout, stderr } = await carnet.cli('envoy', 'bootstrap', ...sides.split(' '), ...format);
      t.is(code, 0, stderr);
      const file = join(directory, `envoy.${format.length === 0 ? 'yaml' : 'json'}`);
      writeFileSync(file, stdout);
      const envoy = spawnSync(venvProgram('envoy'), ['--mode', 'validate', '-c', file], { encoding: 'utf8' });
      t.is(envoy.status, 0, envoy.stderr);
    }
  });

test.serial('nothing runs where Node was told to accept any certificate', async (t) => {
  const { code, stdout, stderr } = await runCarnet(['db', 'url', '--data-dir', carnet.dataDir], {
    env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
  });
  t.deepEqual([code, stdout], [2, '']);
  t.regex(stderr, /NODE_TLS_REJECT_UNAUTHORIZED=0 .*: unset it/);
});

test.serial('db url is what a client of PostgreSQL takes', async (t) => {
  const { stdout } = await carnet.cli('db', 'url');
  const client = new pg.Client(stdout.trim());
  await client.connect();
  const { rows } = await client.query<{ n: number }>('SELECT count(*)::int AS n FROM issuance');
  await client.end();
  t.true((rows[0]?.n ?? 0) > 0);
});

test.serial(
  'no secret is in what the server says, even at level trace, nor in what its children are started with',
  async (t) => {
    const identity = join(directory, 'last');
    const { code, stderr } = await carnet.cli('fetch', '--write', identity);
    t.is(code, 0, stderr);
    const tokens = ['admin', 'auditor'].map((role) =>
      readFileSync(join(carnet.dataDir, `${role}.token`), 'utf8'),
    );
    const refused = await fetch(`${carnet.url}/v1/entries`, { headers: { authorization: 'Bearer hunter2' } });
    t.is(refused.status, 401);
    const key = readFileSync(join(identity, 'svid.key'), 'utf8').split('\n');
    const secrets = {
      'an admin token': tokens[0],
      'an auditor token': tokens[1],
      'a refused token': 'hunter2',
      'a private key': key[1],
      'any private key': 'PRIVATE KEY',
      'the key-encryption key': KEY_ENCRYPTION_KEY,
    };
    const children = processesOf(carnet.dataDir).filter(({ pid }) => pid !== carnet.pid);
    t.true(children.length > 3);
    const places = {
      'its log': carnet.log(),
      'the command line of the server': readFileSync(`/proc/${carnet.pid}/cmdline`, 'utf8'),
      'the command lines of its children': children.map(({ command }) => command).join('\n'),
      'the environments of its children': children
        .map(({ pid }) => readFileSync(`/proc/${pid}/environ`, 'utf8'))
        .join('\n'),
    };
    t.regex(places['its log'], /"level":20/);
    for (const [place, text] of Object.entries(places))
      for (const [what, secret = ''] of Object.entries(secrets))
        t.false(text.includes(secret.trim()), `${what} in ${place}`);
  },
);

/** Runs a command that prints JSON, one document a line, and must. */
async function json(...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await carnet.cli(...args);
  if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
