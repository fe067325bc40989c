import { X509Certificate } from 'node:crypto';
import { join, relative } from 'node:path';
import type { ServerConfig } from '../config.ts';
import { CarnetError } from '../errors.ts';
import { formatAddress } from '../setting-values.ts';
import type { RunningServer } from './start-server.ts';

/** What a person needs to go on: where things are, and commands that work at once, in a shell. */
export function banner(config: ServerConfig, server: RunningServer, env: NodeJS.ProcessEnv): string {
  const [root] = server.roots;
  if (root === undefined) throw new CarnetError('internal', 'the trust bundle has no root');
  const { fingerprint256 } = new X509Certificate(root);
  const tries = commands(
    config,
    server,
    env.npm_lifecycle_event === undefined ? 'carnet' : 'npm run -s carnet --',
  );
  const width = Math.max(...tries.map(([command]) => command.length));
  return `
Carnet is ready.

  trust domain   ${config.trustDomain}
  root SHA-256   ${fingerprint256.replaceAll(':', '').toLowerCase()}
  agent socket   ${server.agentSocket ?? 'none (--no-agent)'}
  UI, REST API   ${server.url}
  other nodes    ${server.grpcAddress === null ? 'none (--grpc-addr off)' : formatAddress(server.grpcAddress)}

Try, in another terminal:

${tries.map(([command, what]) => `  ${command.padEnd(width)}   # ${what}`).join('\n')}

Ctrl-C stops it; what was issued stays on record in ${config.databaseUrl === null ? config.dataDir : 'your database'}.
`;
}

/** With as much of the environment as the commands' defaults don't have. */
function commands(
  { dataDir }: ServerConfig,
  { url, agentSocket }: RunningServer,
  carnet: string,
): [command: string, what: string][] {
  const data =
    relative(process.cwd(), dataDir) === 'carnet-data' ? '' : assignment('CARNET_DATA_DIR', dataDir);
  const server = url === 'http://127.0.0.1:8080' ? '' : assignment('CARNET_SERVER', url);
  const operator = `${server}${data}${carnet}`;
  const tries: [string, string][] = [
    [`${operator} entry list`, 'which identities are granted to whom'],
    [`${operator} audit search`, 'everything that was ever issued'],
  ];
  if (agentSocket === null) return tries;
  const agent =
    agentSocket === join(dataDir, 'agent.sock') ? data : assignment('CARNET_AGENT_SOCKET', agentSocket);
  return [[`${agent}${carnet} fetch`, 'who am I? prints the identity of whoever runs it'], ...tries];
}

/** As a POSIX shell reads it. */
function assignment(name: string, value: string): string {
  const quoted = /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
  return `${name}=${quoted} `;
}
