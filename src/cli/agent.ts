import { Command } from 'commander';
import { AGENT_SETTINGS, type AgentConfig, readAgentConfig } from '../agent-config.ts';
import { systemClock } from '../clock.ts';
import { createLogger } from '../log.ts';
import { addSettings, flagsOf } from '../settings.ts';
import { runUntilInterrupted } from './interrupt.ts';
import { keepYoungGenerationSmall } from './young-generation.ts';

const EXAMPLE = `
Examples:
  $ CARNET_JOIN_TOKEN=cnj1.… carnet agent --server-addr carnet.example:8443
  $ carnet agent --server-addr a.example:8443,b.example:8443 --attest-method x509pop \\
      --x509pop-cert-file machine.pem --x509pop-key-file machine.key --trust-bundle roots.pem

Each setting is also CARNET_SOME_FLAG in the environment and some_flag in the --config file.`;

/** Secrets that the environment may have; children and crash reports don't inherit them. */
const SECRETS = ['CARNET_JOIN_TOKEN', 'CARNET_CACHE_KEY'] as const;

/** `carnet agent`. */
export function agentCommand(): Command {
  const command = new Command('agent').description("run this node's agent, of servers elsewhere");
  addSettings(command, AGENT_SETTINGS);
  command.addHelpText('after', EXAMPLE);
  return command.action(async () => {
    keepYoungGenerationSmall();
    const flags = flagsOf(command);
    const config = readAgentConfig(flags, process.env);
    const cacheKeyText = process.env.CARNET_CACHE_KEY;
    for (const name of SECRETS) delete process.env[name];
    // Other users see a process's arguments until it has another title.
    if (flags.has('join-token')) process.title = 'carnet agent';
    await run(config, cacheKeyText, flags.has('join-token'));
  });
}

async function run(config: AgentConfig, cacheKeyText: string | undefined, seen: boolean): Promise<void> {
  const { startNodeAgent } = await import('./start-node-agent.ts');
  const log = createLogger(config.logLevel);
  if (seen)
    log.warn(
      'the join token was on the command line, where every user of this machine could read it: give it in CARNET_JOIN_TOKEN or --join-token-file',
    );
  await runUntilInterrupted(log, async (signal) => {
    const agent = await startNodeAgent({ config, cacheKeyText, clock: systemClock, log, signal });
    if (!signal.aborted)
      process.stdout.write(
        `Carnet's agent is ready.\n\n  node           ${agent.node}\n  trust domain   ${config.trustDomain}\n  agent socket   ${agent.socket}\n${agent.url === null ? '' : `  health         ${agent.url}\n`}`,
      );
    return agent;
  });
}
