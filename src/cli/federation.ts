import { readFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import type { FederationBody, FederationDetailBody } from '../api/federation.ts';
import { CarnetError } from '../errors.ts';
import { PROFILES } from '../federation/federation.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import {
  note,
  PROCESS_TERMINAL,
  printable,
  Table,
  type Terminal,
  writeFields,
  writeJson,
  writeLine,
} from './output.ts';
import { relativeTime } from './times.ts';

interface CreateFlags extends OperatorFlags {
  readonly endpoint?: string;
  readonly profile: string;
  readonly endpointId?: string;
  readonly bundle?: string;
}

const PATH = '/v1/federation';

/** `carnet federation create|list|show|refresh|set-bundle|delete`. */
export function federationCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('federation')
    .description('other trust domains: where their bundles are, and what is trusted of them')
    .addCommand(createCommand(terminal))
    .addCommand(listCommand(terminal))
    .addCommand(showCommand(terminal))
    .addCommand(refreshCommand(terminal))
    .addCommand(setBundleCommand(terminal))
    .addCommand(deleteCommand(terminal));
}

function createCommand(terminal: Terminal): Command {
  return operatorCommand('create')
    .argument('<DOMAIN>', "the other trust domain's name")
    .description('make another trust domain known; entries then name it with --federates-with')
    .option('--endpoint <URL>', 'its bundle endpoint, https://…; without one, its bundle is set by hand')
    .addOption(
      new Option('--profile <PROFILE>', 'how the endpoint proves who it is')
        .choices(PROFILES)
        .default('https_spiffe'),
    )
    .option('--endpoint-id <ID>', 'with https_spiffe (default: spiffe://DOMAIN/carnet/server)')
    .option('--bundle <FILE>', 'the SPIFFE bundle that it has now; needed but for https_web')
    .addHelpText(
      'after',
      `
Get the bundle in a way that you trust: whoever gives it says who everybody of that trust domain is.

Examples: another Carnet, and a trust domain behind a public certificate
  $ carnet federation create b.example --endpoint https://carnet.b.example:8444/ --bundle b.json
  $ carnet federation create c.example --endpoint https://c.example/bundle --profile https_web`,
    )
    .action(async (domain: string, flags: CreateFlags) => {
      const bundle = flags.bundle === undefined ? undefined : await readBundle(flags.bundle);
      const body = { trust_domain: domain, ...endpointOf(domain, flags), ...(bundle && { bundle }) };
      const made = await clientOf(flags, terminal).post<FederationBody>(PATH, body);
      if (flags.json === true) writeJson(terminal, made);
      else writeLine(terminal, `created ${describe(made)}`);
      if (made.bundle === null) note(terminal, 'its bundle is being fetched: see carnet federation list');
    });
}

function listCommand(terminal: Terminal): Command {
  return operatorCommand('list')
    .description('list the other trust domains')
    .addHelpText('after', '\nExample:\n  $ carnet federation list')
    .action(async (flags: OperatorFlags) => {
      const table = new Table(terminal, ['DOMAIN', 'ENDPOINT', 'SEQUENCE', 'ROOTS', 'CHECKED', 'PROBLEM']);
      for await (const page of clientOf(flags, terminal).pages<FederationBody>(PATH))
        if (flags.json === true) for (const one of page) writeJson(terminal, one);
        else table.write(page.map((one) => row(one, terminal.clock())));
    });
}

function showCommand(terminal: Terminal): Command {
  return operatorCommand('show')
    .argument('<DOMAIN>', 'as carnet federation list shows it')
    .description('show another trust domain; with --json its bundle too')
    .addHelpText(
      'after',
      '\nExample: its bundle, as it is trusted\n  $ carnet federation show b.example --json | jq -r .document',
    )
    .action(async (domain: string, flags: OperatorFlags) => {
      const found = await clientOf(flags, terminal).get<FederationDetailBody>(pathOf(domain));
      if (flags.json === true) writeJson(terminal, found);
      else writeFields(terminal, fieldsOf(found, terminal.clock()));
    });
}

function refreshCommand(terminal: Terminal): Command {
  return operatorCommand('refresh')
    .argument('<DOMAIN>', 'as carnet federation list shows it')
    .description("fetch another trust domain's bundle now")
    .addHelpText('after', '\nExample:\n  $ carnet federation refresh b.example')
    .action((domain: string, flags: OperatorFlags) =>
      change(terminal, flags, 'refreshed', (client) => client.post(`${pathOf(domain)}/refresh`, {})),
    );
}

function setBundleCommand(terminal: Terminal): Command {
  return operatorCommand('set-bundle')
    .argument('<DOMAIN>', 'as carnet federation list shows it')
    .argument('<FILE>', 'a SPIFFE bundle document')
    .description("set another trust domain's bundle by hand, whatever its sequence number is")
    .addHelpText('after', '\nExample:\n  $ carnet federation set-bundle b.example b.json')
    .action(async (domain: string, file: string, flags: OperatorFlags) => {
      const bundle = await readBundle(file);
      await change(terminal, flags, 'set', (client) => client.post(`${pathOf(domain)}/bundle`, { bundle }));
    });
}

function deleteCommand(terminal: Terminal): Command {
  return operatorCommand('delete')
    .argument('<DOMAIN>', 'as carnet federation list shows it')
    .description('trust another trust domain no more: proxies are told at once')
    .addHelpText('after', '\nExample:\n  $ carnet federation delete b.example')
    .action((domain: string, flags: OperatorFlags) =>
      change(terminal, flags, 'deleted', (client) => client.delete(pathOf(domain))),
    );
}

async function change(
  terminal: Terminal,
  flags: OperatorFlags,
  done: string,
  call: (client: ReturnType<typeof clientOf>) => Promise<FederationBody>,
): Promise<void> {
  const after = await call(clientOf(flags, terminal));
  if (flags.json === true) writeJson(terminal, after);
  else writeLine(terminal, `${done} ${describe(after)}`);
}

function endpointOf(domain: string, { endpoint: url, profile, endpointId }: CreateFlags): object {
  if (url === undefined) return {};
  const spiffeId = endpointId ?? (profile === 'https_spiffe' ? `spiffe://${domain}/carnet/server` : null);
  return { endpoint: { profile, url, ...(spiffeId && { spiffe_id: spiffeId }) } };
}

function readBundle(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: Error) => {
    throw new CarnetError('not_found', `${file}: ${cause.message}`, { cause });
  });
}

function row(
  { trust_domain, endpoint, bundle, checked_at, problem, stale }: FederationBody,
  now: number,
): string[] {
  return [
    trust_domain,
    endpoint?.url ?? '-',
    bundle?.sequence ?? '-',
    bundle === null ? '-' : String(bundle.x509_authorities),
    checked_at === null ? '-' : relativeTime(checked_at, now),
    problem ?? (stale ? 'stale' : '-'),
  ];
}

function fieldsOf(found: FederationDetailBody, now: number): [string, string][] {
  const { endpoint, bundle, checked_at, next_refresh_at } = found;
  return [
    ['trust domain', found.trust_domain],
    ['endpoint', endpoint?.url ?? 'none: set by hand'],
    ['profile', endpoint === null ? '-' : [endpoint.profile, endpoint.spiffe_id ?? ''].join(' ').trim()],
    ['sequence', bundle?.sequence ?? '-'],
    ['X.509 roots', String(bundle?.x509_authorities ?? 0)],
    ['JWT keys', String(bundle?.jwt_authorities ?? 0)],
    ['sha256', bundle?.sha256 ?? '-'],
    ['changed', bundle === null ? 'never' : relativeTime(bundle.changed_at, now)],
    ['checked', checked_at === null ? 'never' : relativeTime(checked_at, now)],
    ['next look', next_refresh_at === null ? '-' : relativeTime(next_refresh_at, now)],
    ['problem', found.problem ?? (found.stale ? 'stale' : '-')],
  ];
}

function describe({ trust_domain, bundle }: FederationBody): string {
  const roots =
    bundle === null ? 'no bundle yet' : `${bundle.x509_authorities} roots, sha256 ${bundle.sha256}`;
  return printable(`${trust_domain}: ${roots}`);
}

function pathOf(domain: string): string {
  return `${PATH}/${encodeURIComponent(domain)}`;
}
