#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { exitCodeOf, reportError } from './cli/exit.ts';
import { CarnetError } from './errors.ts';
import { VERSION } from './version.ts';

/** Each command, loaded when it is asked for: an agent has no room for what a server is made of. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  server: async () => (await import('./cli/server.ts')).serverCommand(),
  agent: async () => (await import('./cli/agent.ts')).agentCommand(),
  fetch: async () => (await import('./cli/fetch.ts')).fetchCommand(),
  entry: async () => (await import('./cli/entry.ts')).entryCommand(),
  attest: async () => (await import('./cli/attest.ts')).attestCommand(),
  federation: async () => (await import('./cli/federation.ts')).federationCommand(),
  proxies: async () => (await import('./cli/proxies.ts')).proxiesCommand(),
  root: async () => (await import('./cli/root.ts')).rootCommand(),
  jwt: async () => (await import('./cli/jwt.ts')).jwtCommand(),
  revoke: async () => (await import('./cli/revoke.ts')).revokeCommand(),
  audit: async () => (await import('./cli/audit.ts')).auditCommand(),
  token: async () => (await import('./cli/token.ts')).tokenCommand(),
  session: async () => (await import('./cli/session.ts')).sessionCommand(),
  'join-token': async () => (await import('./cli/join-token.ts')).joinTokenCommand(),
  agents: async () => (await import('./cli/agents.ts')).agentsCommand(),
  envoy: async () => (await import('./cli/envoy.ts')).envoyCommand(),
  keys: async () => (await import('./cli/keys.ts')).keysCommand(),
  db: async () => (await import('./cli/db.ts')).databaseCommand(),
  doctor: async () => (await import('./cli/doctor.ts')).doctorCommand(),
};

const program = new Command('carnet')
  .description('Short-lived X.509 identities for every container, over Envoy SDS, each one on record.')
  .version(VERSION)
  .showHelpAfterError('Add --help to see how, with an example.')
  // Commander would end the process by itself.
  .exitOverride();
for (const command of await Promise.all(asked(process.argv[2] ?? ''))) program.addCommand(command);
inheritSettings(program);

// Whoever reads our output may have seen enough: `carnet audit search | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  refuseUnverifiedTls();
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) reportError(error);
  process.exitCode = exitCodeOf(error);
}

/** The command with this name; all of them for the help, and for a name that is none's. */
function asked(name: string): Promise<Command>[] {
  const own = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  return own === undefined ? Object.values(COMMANDS).map((load) => load()) : [own()];
}

/** Those of {@link program}, by all commands under it: one that is added does not take them over by itself. */
function inheritSettings(command: Command): void {
  for (const child of command.commands) inheritSettings(child.copyInheritedSettings(command));
}

/** Node would verify nobody's certificate by it, and say so in one line on stderr. */
function refuseUnverifiedTls(): void {
  if (process.env.NODE_TLS_REJECT_UNAUTHORIZED === '0')
    throw new CarnetError(
      'config_invalid',
      'NODE_TLS_REJECT_UNAUTHORIZED=0 would have every certificate accepted: unset it',
    );
}
