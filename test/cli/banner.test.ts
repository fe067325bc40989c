import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import test from 'ava';
import { banner } from '../../src/cli/banner.ts';
import type { RunningServer } from '../../src/cli/start-server.ts';
import { readServerConfig } from '../../src/config.ts';
import { createAuthorities } from '../ca/authorities.ts';

const { root } = await createAuthorities('ec-p256');

function commandsFor(
  dataDir: string,
  server: Partial<RunningServer> = {},
  env: NodeJS.ProcessEnv = {},
): string[] {
  const config = readServerConfig(new Map([['data-dir', dataDir]]), {});
  const running = {
    url: 'http://127.0.0.1:8080',
    grpcAddress: null,
    agentSocket: join(dataDir, 'agent.sock'),
    roots: [root.stored.certificate],
    close: async () => undefined,
    ...server,
  };
  return [...banner(config, running, env).matchAll(/^ {2}(\S.*?) +# /gm)].map(([, command = '']) => command);
}

test('where the defaults hold the commands say nothing else', (t) => {
  const expected = ['carnet fetch', 'carnet entry list', 'carnet audit search'];
  t.deepEqual(commandsFor(resolve('carnet-data')), expected);
  t.is(
    commandsFor(resolve('carnet-data'), {}, { npm_lifecycle_event: 'start' })[0],
    'npm run -s carnet -- fetch',
  );
});

test('what differs from the defaults is said, and no more than each command needs', (t) => {
  t.deepEqual(commandsFor('/srv/x', { url: 'http://127.0.0.1:9000', agentSocket: '/run/a.sock' }), [
    'CARNET_AGENT_SOCKET=/run/a.sock carnet fetch',
    'CARNET_SERVER=http://127.0.0.1:9000 CARNET_DATA_DIR=/srv/x carnet entry list',
    'CARNET_SERVER=http://127.0.0.1:9000 CARNET_DATA_DIR=/srv/x carnet audit search',
  ]);
});

test('without an agent there is nothing to fetch', (t) => {
  t.deepEqual(commandsFor(resolve('carnet-data'), { agentSocket: null }), [
    'carnet entry list',
    'carnet audit search',
  ]);
});

test('a shell reads the data directory as it is, whatever it is called', (t) => {
  const odd = `/tmp/it's $(a) "test"`;
  const [command = ''] = commandsFor(odd);
  const script = `carnet() { printf %s "$CARNET_DATA_DIR"; }; ${command}`;
  t.is(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }), odd);
});
