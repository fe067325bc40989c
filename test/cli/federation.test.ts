import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { doctorCommand } from '../../src/cli/doctor.ts';
import { federationCommand } from '../../src/cli/federation.ts';
import { NOW, TRUST_DOMAIN } from '../api/harness.ts';
import { MemoryFederations } from '../api/memory-federations.ts';
import { createDomain } from '../federation/domain.ts';
import { jsonLines, runCommand, startOperator } from './harness.ts';

const B = await createDomain('b.test');

test('federation create, list, show, refresh, set-bundle and delete do what they say', async (t) => {
  const { federations, file, run } = await start(t);
  const args = ['create', 'b.test', '--endpoint', 'https://b.test:8444/', '--bundle', file];
  t.regex((await run(...args)).stdout, /^created b\.test: 1 roots, sha256 [0-9a-f]{64}\n$/);
  t.like(federations.federations.get('b.test')?.endpoint, {
    profile: 'https_spiffe',
    spiffeId: 'spiffe://b.test/carnet/server',
  });
  t.regex((await run('list')).stdout, /^DOMAIN.*\nb\.test {2}https:\/\/b\.test:8444\/ {2}1 {9}1 {6}/);
  t.regex(
    (await run('show', 'b.test')).stdout,
    /^profile {7}https_spiffe spiffe:\/\/b\.test\/carnet\/server$/m,
  );
  const [detail] = jsonLines((await run('show', 'b.test', '--json')).stdout);
  t.like(detail, { document: B.document(), stale: false, bundle: { sequence: '1', x509_authorities: 1 } });
  federations.published.set('b.test', B.document({ sequence: 2 }));
  t.is((await run('refresh', 'b.test')).code, 0);
  t.is((await run('set-bundle', 'b.test', file)).code, 0);
  t.regex((await run('delete', 'b.test')).stdout, /^deleted b\.test: /);
  t.deepEqual(
    federations.changes.map((change) => change.replace(/^operator:\S+ /, '')),
    ['create', 'refresh', 'set-bundle', 'delete'].map((what) => `${what} b.test`),
  );
});

for (const [why, args] of [
  ['a file that is not there', ['create', 'b.test', '--bundle', '/nowhere']],
  ['our own trust domain', ['create', TRUST_DOMAIN, '--endpoint', 'https://x/', '--profile', 'https_web']],
  ['an endpoint without TLS', ['create', 'b.test', '--endpoint', 'http://b.test/', '--profile', 'https_web']],
  ['what is no trust domain', ['create', 'B.test', '--endpoint', 'https://x/', '--profile', 'https_web']],
  ['one that is not known', ['refresh', 'c.test']],
] as const)
  test(`federation refuses ${why}, and changes nothing`, async (t) => {
    const { federations, run } = await start(t);
    t.is((await run(...args)).code, 1);
    t.deepEqual(federations.changes, []);
  });

test('the doctor tells of a trust domain whose endpoint is not heard, and of one that never was', async (t) => {
  const { federations, file, env, run } = await start(t);
  await run('create', 'b.test', '--endpoint', 'https://b.test/', '--bundle', file);
  const levels = async (now: number): Promise<string[]> => {
    const { stdout } = await runCommand(doctorCommand, ['--json'], { env, now });
    return jsonLines(stdout).flatMap(({ check, level }) => (check === 'federation' ? [level] : []));
  };
  t.deepEqual(await levels(NOW), ['ok']);
  const found = federations.federations.get('b.test');
  if (found === undefined) return t.fail();
  federations.federations.set('b.test', {
    ...found,
    checkedAt: new Date(NOW - 3_600_000),
    problem: 'it is down',
  });
  t.deepEqual(await levels(NOW), ['warn']);
  federations.federations.set('b.test', { ...found, bundle: null });
  t.deepEqual(await levels(NOW), ['fail']);
});

async function start(t: ExecutionContext) {
  const federations = new MemoryFederations(TRUST_DOMAIN);
  const { env, dataDir } = await startOperator(t, { federation: federations });
  const file = join(dataDir, 'b.json');
  await writeFile(file, B.document());
  return {
    federations,
    file,
    env,
    run: (...args: readonly string[]) => runCommand(federationCommand, args, { env }),
  };
}
