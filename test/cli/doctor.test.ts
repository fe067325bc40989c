import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { doctorCommand } from '../../src/cli/doctor.ts';
import { makeAuthority } from '../api/harness.ts';
import { jsonLines, runCommand, startOperator } from './harness.ts';

test('doctor is content with a healthy server', async (t) => {
  const { env, api } = await startOperator(t);
  api.readiness.now = { ready: true, checks: [{ name: 'database', ok: true, detail: 'answers in 2 ms' }] };
  const now = Date.now();
  const life = { notBefore: new Date(now - 1000), notAfter: new Date(now + 86_400_000) };
  api.authorities.push(await makeAuthority(life));
  api.authorities.push(await makeAuthority({ ...life, id: 'issuing-1', kind: 'issuing' }));
  const { code, stdout } = await runCommand(doctorCommand, ['--json'], { env, now });
  t.is(code, 0);
  t.deepEqual(
    jsonLines(stdout).map(({ check, level }) => `${check}: ${level}`),
    [
      'server: ok',
      'clock: ok',
      'ready: ok',
      'database: ok',
      'token file: ok',
      'authorities: ok',
      'authorities: ok',
      'proxies: ok',
      'log: ok',
      'records: ok',
    ],
  );
});

test('doctor names what is wrong, says what to do, and exits 1', async (t) => {
  const { env, api, dataDir } = await startOperator(t);
  const file = join(dataDir, 'open.token');
  await writeFile(file, `${api.bearers.admin}\n`, { mode: 0o644 });
  api.readiness.now = { ready: false, checks: [{ name: 'database', ok: false, detail: 'refused' }] };
  const stream = api.proxies.connect('sds', 'container:1', () => []);
  stream.waiting(['default']);
  const { code, stdout, stderr } = await runCommand(doctorCommand, ['--token-file', file], { env });
  t.is(code, 1);
  for (const line of [
    /^fail {2}ready +the server can not issue/m,
    /^fail {2}database +refused$/m,
    /^fail {2}token file +.* has the mode 0644/m,
    /^ +-> chmod 600 /m,
    /^fail {2}authorities +there is no active root CA$/m,
    /^warn {2}proxies +container:1 waits for default$/m,
  ])
    t.regex(stdout, line);
  t.regex(stderr, /^carnet: \d+ of \d+ checks failed$/m);
});
