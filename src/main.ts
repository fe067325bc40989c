#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { agentCommand } from './cli/agent.ts';
import { agentsCommand } from './cli/agents.ts';
import { attestCommand } from './cli/attest.ts';
import { auditCommand } from './cli/audit.ts';
import { databaseCommand } from './cli/db.ts';
import { doctorCommand } from './cli/doctor.ts';
import { entryCommand } from './cli/entry.ts';
import { envoyCommand } from './cli/envoy.ts';
import { exitCodeOf, reportError } from './cli/exit.ts';
import { federationCommand } from './cli/federation.ts';
import { fetchCommand } from './cli/fetch.ts';
import { joinTokenCommand } from './cli/join-token.ts';
import { jwtCommand } from './cli/jwt.ts';
import { keysCommand } from './cli/keys.ts';
import { proxiesCommand } from './cli/proxies.ts';
import { revokeCommand } from './cli/revoke.ts';
import { rootCommand } from './cli/root.ts';
import { serverCommand } from './cli/server.ts';
import { tokenCommand } from './cli/token.ts';

const program = new Command('carnet')
  .description('Short-lived X.509 identities for every container, over Envoy SDS, each one on record.')
  .version('0.1.0')
  .showHelpAfterError('Try --help.')
  .addCommand(serverCommand())
  .addCommand(agentCommand())
  .addCommand(fetchCommand())
  .addCommand(entryCommand())
  .addCommand(attestCommand())
  .addCommand(federationCommand())
  .addCommand(proxiesCommand())
  .addCommand(rootCommand())
  .addCommand(jwtCommand())
  .addCommand(revokeCommand())
  .addCommand(auditCommand())
  .addCommand(tokenCommand())
  .addCommand(joinTokenCommand())
  .addCommand(agentsCommand())
  .addCommand(envoyCommand())
  .addCommand(keysCommand())
  .addCommand(databaseCommand())
  .addCommand(doctorCommand());

throwInsteadOfExit(program);

// Whoever reads our output may have seen enough: `carnet audit search | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) reportError(error);
  process.exitCode = exitCodeOf(error);
}

/** Commander ends the process by itself unless each command is told otherwise. */
function throwInsteadOfExit(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) throwInsteadOfExit(child);
}
