import { Command } from 'commander';
import { systemClock } from '../clock.ts';
import { readServerConfig, SERVER_SETTINGS, type ServerConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import { addSettings, flagsOf } from '../settings.ts';
import { banner } from './banner.ts';
import { runUntilInterrupted } from './interrupt.ts';

/** `carnet server`. */
export function serverCommand(): Command {
  const command = new Command('server').description("run a server, with an agent for this node's containers");
  addSettings(command, SERVER_SETTINGS);
  command.addHelpText(
    'after',
    '\nExamples:\n  $ carnet server\n  $ carnet server --trust-domain example.org --data-dir /var/lib/carnet --grpc-addr 0.0.0.0:8443\n\nEach setting is also CARNET_SOME_FLAG in the environment and some_flag in the --config file.',
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
  await runUntilInterrupted(log, async (signal) => {
    const server = await startServer({ config, keyEncryptionKeyText, clock: systemClock, log, signal });
    if (!signal.aborted) process.stdout.write(banner(config, server, process.env));
    return server;
  });
}
