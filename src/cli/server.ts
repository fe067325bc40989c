import { X509Certificate } from 'node:crypto';
import { relative } from 'node:path';
import { Command } from 'commander';
import { systemClock } from '../clock.ts';
import { addSettings, flagsOf, readServerConfig, SERVER_SETTINGS, type ServerConfig } from '../config.ts';
import { CarnetError } from '../errors.ts';
import { createLogger } from '../log.ts';
import type { RunningServer } from './start-server.ts';

/** From Ctrl-C on. Longer than all the parts together may take to stop. */
const STOP_DEADLINE_MS = 30_000;

/** `carnet server`. */
export function serverCommand(): Command {
  const command = new Command('server').description("run a server, with an agent for this node's containers");
  addSettings(command, SERVER_SETTINGS);
  command.addHelpText(
    'after',
    '\nEach setting is also CARNET_SOME_FLAG in the environment and some_flag in the --config file.',
  );
  return command.action(async () => {
    await serve(readServerConfig(flagsOf(command), process.env));
  });
}

async function serve(config: ServerConfig): Promise<void> {
  const { startServer } = await import('./start-server.ts');
  const log = createLogger(config.logLevel);
  const keyEncryptionKeyText = process.env.CARNET_KEY_ENCRYPTION_KEY;
  // Children and crash reports don't inherit it.
  delete process.env.CARNET_KEY_ENCRYPTION_KEY;
  const interrupt = new AbortController();
  const interrupted = new Promise<void>((resolve) =>
    interrupt.signal.addEventListener('abort', () => resolve()),
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      if (interrupt.signal.aborted) process.exit(1);
      log.info('stopping; Ctrl-C again to stop at once');
      setTimeout(() => {
        log.fatal('the parts did not stop in time');
        process.exit(1);
      }, STOP_DEADLINE_MS).unref();
      interrupt.abort();
    });
  let server: RunningServer;
  try {
    server = await startServer({
      config,
      keyEncryptionKeyText,
      clock: systemClock,
      log,
      signal: interrupt.signal,
    });
  } catch (error) {
    if (interrupt.signal.aborted) return;
    throw error;
  }
  if (!interrupt.signal.aborted) process.stdout.write(banner(config, server));
  await interrupted;
  await server.close();
}

/** What a person needs to go on: where things are, and three commands that work at once. */
function banner(config: ServerConfig, { url, agentSocket, roots }: RunningServer): string {
  const [root] = roots;
  if (root === undefined) throw new CarnetError('internal', 'the trust bundle has no root');
  const { fingerprint256 } = new X509Certificate(root);
  const carnet = process.env.npm_lifecycle_event === undefined ? 'carnet' : 'npm run -s carnet --';
  const options =
    relative(process.cwd(), config.dataDir) === 'carnet-data' ? '' : `CARNET_DATA_DIR=${config.dataDir} `;
  const server = url === 'http://127.0.0.1:8080' ? '' : `CARNET_SERVER=${url} `;
  const tries = [
    [`${options}${carnet} fetch`, 'who am I? prints the identity of whoever runs it'],
    [`${server}${options}${carnet} entry list`, 'which identities are granted to whom'],
    [`${server}${options}${carnet} audit search`, 'everything that was ever issued'],
  ];
  const width = Math.max(...tries.map(([command = '']) => command.length));
  return `
Carnet is ready.

  trust domain   ${config.trustDomain}
  root SHA-256   ${fingerprint256.replaceAll(':', '').toLowerCase()}
  agent socket   ${agentSocket ?? 'none (--no-agent)'}
  REST API       ${url}

Try, in another terminal:

${tries.map(([command = '', what]) => `  ${command.padEnd(width)}   # ${what}`).join('\n')}

Ctrl-C stops it; what was issued stays on record in ${config.databaseUrl === null ? config.dataDir : 'your database'}.
`;
}
