import { mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { stringify } from 'yaml';
import { CarnetError } from '../errors.ts';
import { parseSpiffeId, parseTrustDomain } from '../identity/spiffe-id.ts';
import { parseAddress } from '../setting-values.ts';
import { agentSocketOf, agentSocketOption } from './agent-socket.ts';
import { envoyBootstrap } from './envoy-bootstrap.ts';
import { credentialFiles, type SdsServer } from './envoy-sds-server.ts';

interface Flags {
  readonly agentSocket?: string;
  readonly sdsServer?: string;
  readonly svidDir?: string;
  readonly tokenFile?: string;
  readonly trustBundle?: string;
  readonly credentialsDir?: string;
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
Example: an Envoy that takes mTLS on 10443 for the app on 9000, and carries the app's own calls
to 127.0.0.1:9001 to the service at payments:10443:

  $ carnet envoy bootstrap --listen 0.0.0.0:10443 --app 127.0.0.1:9000 \\
      --egress-listen 127.0.0.1:9001 --upstream payments:10443 \\
      --upstream-id spiffe://carnet.local/payments > envoy.yaml
  $ envoy -c envoy.yaml

The same without an agent, by a certificate that something else keeps in /run/identity:

  $ carnet envoy bootstrap --sds-server carnet:8443 --svid-dir /run/identity --credentials-dir /run/envoy \\
      --listen 0.0.0.0:10443 --app 127.0.0.1:9000 > envoy.yaml`;

/** `carnet envoy bootstrap`. */
export function envoyCommand(): Command {
  const bootstrap = new Command('bootstrap')
    .description('print a complete Envoy configuration that takes keys, certificates and trust from SDS')
    .addOption(agentSocketOption())
    .option('--sds-server <HOST:PORT>', 'a server with --sds-on-grpc, instead of an agent')
    .option('--svid-dir <DIR>', '…that knows this Envoy by svid.pem and svid.key in this directory')
    .option('--token-file <FILE>', '…or by the token in this file; either is read again when it changes')
    .option('--trust-bundle <FILE>', "…and the server's roots, PEM (default: bundle.pem in --svid-dir)")
    .option(
      '--credentials-dir <DIR>',
      '…where small files are written, without secrets, by which Envoy follows these (default: --svid-dir)',
    )
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
      'trust domain of the peers; or CARNET_TRUST_DOMAIN',
      process.env.CARNET_TRUST_DOMAIN ?? 'carnet.local',
    )
    .option('--listen <HOST:PORT>', 'take mTLS here', undefined)
    .option('--app <HOST:PORT>', 'the app behind --listen, in plain HTTP')
    .addOption(many('--allow <SPIFFE-ID>', 'peer allowed to call the app; repeatable'))
    .option('--egress-listen <HOST:PORT>', "take the app's own calls here, in plain HTTP")
    .option('--upstream <HOST:PORT>', "where --egress-listen's calls go, by mTLS")
    .addOption(many('--upstream-id <SPIFFE-ID>', 'who must answer there; repeatable'))
    .option('--json', 'JSON instead of YAML')
    .addHelpText('after', EXAMPLE)
    .action((flags: Flags) => {
      const options = optionsOf(flags);
      const config = envoyBootstrap(options);
      if (typeof options.sdsFrom !== 'string') writeCredentialFiles(options.sdsFrom);
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
    sdsFrom: flags.sdsServer === undefined ? socketOf(flags) : sdsServerOf(flags, flags.sdsServer),
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

function socketOf(flags: Flags): string {
  const { svidDir, tokenFile, trustBundle, credentialsDir } = flags;
  if ([svidDir, tokenFile, trustBundle, credentialsDir].some((flag) => flag !== undefined))
    throw new CarnetError(
      'config_invalid',
      '--svid-dir, --token-file, --trust-bundle and --credentials-dir go with --sds-server: give that too',
    );
  return resolve(agentSocketOf(flags));
}

function sdsServerOf(flags: Flags, address: string): SdsServer {
  const { svidDir, tokenFile, trustBundle, credentialsDir = svidDir } = flags;
  const shared = { address: parseAddress(address), trustDomain: parseTrustDomain(flags.trustDomain) };
  if ((svidDir === undefined) === (tokenFile === undefined))
    throw new CarnetError('config_invalid', '--sds-server needs one of --svid-dir and --token-file');
  if (credentialsDir === undefined || (svidDir === undefined && trustBundle === undefined))
    throw new CarnetError('config_invalid', '--token-file needs --trust-bundle and --credentials-dir');
  return {
    ...shared,
    bundleFile: resolve(trustBundle ?? join(svidDir ?? '', 'bundle.pem')),
    credential:
      tokenFile === undefined ? { svidDir: resolve(svidDir ?? '') } : { tokenFile: resolve(tokenFile) },
    credentialsDir: resolve(credentialsDir),
  };
}

function writeCredentialFiles(server: SdsServer): void {
  for (const { path, content } of credentialFiles(server)) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${JSON.stringify(content)}\n`);
  }
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
    .default([], 'the whole trust domain');
}
