import { Command } from 'commander';
import { systemClock } from '../clock.ts';
import { readServerConfig, SERVER_SETTINGS, type ServerConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import { addSettings, flagsOf } from '../settings.ts';
import { banner } from './banner.ts';
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
  if (!interrupt.signal.aborted) process.stdout.write(banner(config, server, process.env));
  await interrupted;
  await server.close();
}
