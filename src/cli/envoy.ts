import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { stringify } from 'yaml';
import { CarnetError } from '../errors.ts';
import { parseSpiffeId, parseTrustDomain } from '../identity/spiffe-id.ts';
import { parseAddress } from '../setting-values.ts';
import { agentSocketOf, agentSocketOption } from './agent-socket.ts';
import { envoyBootstrap } from './envoy-bootstrap.ts';

interface Flags {
  readonly agentSocket?: string;
  readonly nodeId: string;
  readonly admin: string;
  readonly delta?: boolean;
  readonly federated?: boolean;
  readonly trustDomain: string;
  readonly listen?: string;
  readonly app?: string;
  readonly allow: readonly string[];
  readonly egressListen?: string;
  readonly upstream?: string;
  readonly upstreamId: readonly string[];
  readonly json?: boolean;
}

/** What Envoy's parser reads: there a node called `no` must be quoted. */
const YAML_1_1 = { version: '1.1', aliasDuplicateObjects: false } as const;

const EXAMPLE = `
Example: an Envoy that takes mTLS on 8443 for the app on 9000, and carries the app's own calls
to 127.0.0.1:9001 to the service at payments:8443:

  $ carnet envoy bootstrap --listen 0.0.0.0:8443 --app 127.0.0.1:9000 \\
      --egress-listen 127.0.0.1:9001 --upstream payments:8443 \\
      --upstream-id spiffe://carnet.local/payments > envoy.yaml
  $ envoy -c envoy.yaml`;

/** `carnet envoy bootstrap`. */
export function envoyCommand(): Command {
  const bootstrap = new Command('bootstrap')
    .description('print a complete Envoy configuration that takes keys, certificates and trust from SDS')
    .addOption(agentSocketOption())
    .option('--node-id <NAME>', "Envoy's name for itself, as carnet proxies shows it", hostname())
    .option(
      '--admin <HOST:PORT|PATH>',
      "Envoy's admin interface, on loopback or a Unix socket: there the agent sees what Envoy uses",
      '127.0.0.1:9901',
    )
    .option('--delta', 'delta xDS instead of state of the world')
    .option('--federated', 'peers may be of other trust domains that the entry federates with')
    .option(
      '--trust-domain <NAME>',
      'trust domain of the peers',
      process.env.CARNET_TRUST_DOMAIN ?? 'carnet.local',
    )
    .option('--listen <HOST:PORT>', 'take mTLS here', undefined)
    .option('--app <HOST:PORT>', 'the app behind --listen, in plain HTTP')
    .addOption(
      many(
        '--allow <SPIFFE-ID>',
        'peer allowed to call the app; repeatable (default: the whole trust domain)',
      ),
    )
    .option('--egress-listen <HOST:PORT>', "take the app's own calls here, in plain HTTP")
    .option('--upstream <HOST:PORT>', "where --egress-listen's calls go, by mTLS")
    .addOption(
      many(
        '--upstream-id <SPIFFE-ID>',
        'who must answer there; repeatable (default: the whole trust domain)',
      ),
    )
    .option('--json', 'JSON instead of YAML')
    .addHelpText('after', EXAMPLE)
    .action((flags: Flags) => {
      const config = envoyBootstrap(optionsOf(flags));
      process.stdout.write(flags.json === true ? `${JSON.stringify(config)}\n` : stringify(config, YAML_1_1));
    });
  return new Command('envoy').description("Envoy's configuration").addCommand(bootstrap);
}

function optionsOf(flags: Flags): Parameters<typeof envoyBootstrap>[0] {
  const everyone = `spiffe://${parseTrustDomain(flags.trustDomain)}/`;
  const peersOf = (ids: readonly string[]): string[] =>
    ids.length === 0 ? [everyone] : ids.map(parseSpiffeId);
  const inbound = pair('--listen', flags.listen, '--app', flags.app);
  const outbound = pair('--egress-listen', flags.egressListen, '--upstream', flags.upstream);
  if (inbound === null && outbound === null)
    throw new CarnetError(
      'config_invalid',
      'give --listen and --app, or --egress-listen and --upstream, or all four',
    );
  return {
    agentSocket: resolve(agentSocketOf(flags)),
    nodeId: flags.nodeId,
    admin: flags.admin.startsWith('/') ? { path: flags.admin } : parseAddress(flags.admin),
    apiType: flags.delta === true ? 'DELTA_GRPC' : 'GRPC',
    federated: flags.federated === true,
    inbound: inbound && { listen: inbound[0], app: inbound[1], peers: peersOf(flags.allow) },
    outbound:
      outbound === null
        ? []
        : [
            {
              name: 'outbound',
              listen: outbound[0],
              upstream: outbound[1],
              peers: peersOf(flags.upstreamId),
            },
          ],
  };
}

function pair(a: string, first: string | undefined, b: string, second: string | undefined) {
  if ((first === undefined) !== (second === undefined))
    throw new CarnetError('config_invalid', `${a} and ${b} go together: give both`);
  if (first === undefined || second === undefined) return null;
  return [parseAddress(first), parseAddress(second)] as const;
}

function many(flags: string, help: string): Option {
  return new Option(flags, help)
    .argParser((value: string, all: readonly string[]) => [...all, value])
    .default([], 'none');
}
