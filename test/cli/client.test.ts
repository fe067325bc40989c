import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { auditCommand } from '../../src/cli/audit.ts';
import { doctorCommand } from '../../src/cli/doctor.ts';
import { entryCommand } from '../../src/cli/entry.ts';
import { proxiesCommand } from '../../src/cli/proxies.ts';
import { rootCommand } from '../../src/cli/root.ts';
import { tokenCommand } from '../../src/cli/token.ts';
import { lines, runCommand, startOperator } from './harness.ts';

test('without a server each command says so in one line, and exits 1', async (t) => {
  const { dataDir } = await startOperator(t);
  const closed = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => closed.once('listening', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const env = { CARNET_SERVER: `http://127.0.0.1:${port}`, CARNET_DATA_DIR: dataDir };
  for (const [make, args] of [
    [entryCommand, ['list']],
    [proxiesCommand, []],
    [rootCommand, ['status']],
    [auditCommand, ['search']],
    [tokenCommand, ['list']],
  ] as const) {
    const { code, stdout, stderr } = await runCommand(make, args, { env });
    t.is(code, 1);
    t.is(stdout, '');
    t.is(
      stderr,
      `carnet: no Carnet server at ${env.CARNET_SERVER}: start one with \`carnet server\`, or name another with --server\n`,
    );
  }
  const doctor = await runCommand(doctorCommand, [], { env });
  t.is(doctor.code, 1);
  t.regex(doctor.stdout, /^fail {2}server +no Carnet server at/m);
});

test('an answer that is not from Carnet is told from an error of Carnet’s', async (t) => {
  const { dataDir } = await startOperator(t);
  const other = createServer((request, response) => {
    response.writeHead(request.url === '/v1/authorities' ? 302 : 404, { location: 'http://127.0.0.1:1/' });
    response.end('<html>');
  }).listen(0, '127.0.0.1');
  t.teardown(() => other.close());
  await new Promise((resolve) => other.once('listening', resolve));
  const env = {
    CARNET_SERVER: `http://127.0.0.1:${(other.address() as AddressInfo).port}`,
    CARNET_DATA_DIR: dataDir,
  };
  const foreign = await runCommand(entryCommand, ['list'], { env });
  t.regex(foreign.stderr, /answered 404 in a way that no Carnet server does: is it the right address\?/);
  const redirected = await runCommand(rootCommand, ['status'], { env });
  t.is(redirected.code, 1);
  t.regex(redirected.stderr, /can't be reached: .*redirect/);
});

test('an error of the server is one line: what was wrong and what to do', async (t) => {
  const { env, api, dataDir } = await startOperator(t);
  const file = join(dataDir, 'eve.token');
  await writeFile(file, api.bearers.auditor ?? '');
  const forbidden = await runCommand(entryCommand, ['delete', 'web', '--token-file', file], { env });
  t.is(forbidden.code, 1);
  t.is(lines(forbidden.stderr).length, 1);
  t.regex(
    forbidden.stderr,
    /has the role auditor.*the token is from .*eve\.token; choose another with --token-file/,
  );
  api.outage.down = true;
  const down = await runCommand(entryCommand, ['list'], { env });
  t.is(down.stderr, 'carnet: Postgres does not answer; try again in 2 s\n');
});
