import { type Command, Option } from 'commander';
import type { DenialBody, RevocationResultBody } from '../api/revocations.ts';
import { CarnetError } from '../errors.ts';
import { REVOCATION_REASONS } from '../x509/revocation-reason.ts';
import { confirm } from './confirm.ts';
import { refuseShortened } from './instance.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { PROCESS_TERMINAL, printable, Table, type Terminal, writeJson, writeLine } from './output.ts';
import { shortTime } from './times.ts';

interface Flags extends OperatorFlags {
  readonly serial?: string;
  readonly identity?: string;
  readonly instance?: string;
  readonly node?: string;
  readonly authority?: string;
  readonly reason?: string;
  readonly reasonCode?: string;
  readonly list?: boolean;
  readonly lift?: string;
  readonly force?: boolean;
  readonly yes?: boolean;
}

const TARGETS = ['serial', 'identity', 'instance', 'node', 'authority'] as const;

const EXAMPLE = `
Every proxy refuses what is revoked at its next handshake; connections that are open live on until they end.

Examples:
  $ carnet revoke --serial 2b9c… --reason 'key found in a log'
  $ carnet revoke --instance container:4f3a… --reason-code keyCompromise
  $ carnet revoke --list
  $ carnet revoke --lift 3`;

/** `carnet revoke`. */
export function revokeCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return operatorCommand('revoke')
    .description('revoke certificates, and refuse to issue such again')
    .option('--serial <SERIAL>', 'one certificate; and its identity at its instance from now on')
    .option('--identity <SPIFFE-ID>', 'an identity, or its path, wherever it is')
    .option('--instance <ID>', 'all that a container or process has; in full, as carnet proxies has it')
    .option('--node <NAME>', 'all that a node has')
    .option('--authority <ID>', 'an issuing CA that signs no more')
    .option('--reason <TEXT>', 'why; goes on record')
    .addOption(new Option('--reason-code <CODE>', 'RFC 5280 §5.3.1').choices(Object.keys(REVOCATION_REASONS)))
    .option('--list', 'what is refused now, and what was')
    .option('--lift <ID>', 'let it be issued again; what was revoked stays so')
    .option('--force', 'an authority, whoever still presents what it signed')
    .option('--yes', 'do not ask')
    .addHelpText('after', EXAMPLE)
    .action((flags: Flags) => run(flags, terminal));
}

async function run(flags: Flags, terminal: Terminal): Promise<void> {
  const client = clientOf(flags, terminal);
  const targets = TARGETS.filter((name) => flags[name] !== undefined);
  if (targets.length + (flags.list === true ? 1 : 0) + (flags.lift === undefined ? 0 : 1) !== 1)
    throw new CarnetError(
      'config_invalid',
      `give exactly one of --${TARGETS.join(', --')}, --list and --lift`,
    );
  if (flags.list === true) return show(await client.get('/v1/revocations'), flags, terminal);
  if (flags.lift !== undefined)
    return show(await client.delete(`/v1/revocations/${encodeURIComponent(flags.lift)}`), flags, terminal);
  const [target = 'serial'] = targets;
  const value = flags[target] ?? '';
  if (target === 'instance') refuseShortened(value);
  if (target !== 'serial') await confirm(terminal, flags.yes, warning(target, printable(value)));
  const result = await client.post<RevocationResultBody>('/v1/revocations', {
    [target]: value,
    force: flags.force ?? false,
    ...(flags.reason === undefined ? {} : { reason: flags.reason }),
    ...(flags.reasonCode === undefined ? {} : { reason_code: flags.reasonCode }),
  });
  if (flags.json === true) return writeJson(terminal, result);
  const denial =
    result.denial_id === null
      ? ''
      : `; denial ${result.denial_id} refuses more of them, until carnet revoke --lift ${result.denial_id}`;
  writeLine(
    terminal,
    `revoked ${result.certificates} certificates by bundle ${result.bundle_sequence}${denial}`,
  );
}

function warning(target: (typeof TARGETS)[number], value: string): string {
  return target === 'authority'
    ? `All that ${value} signed is refused from now on.`
    : `All that ${target} ${value} holds is revoked, and no more is issued to it.`;
}

function show({ items }: { items: DenialBody[] }, flags: Flags, terminal: Terminal): void {
  if (flags.json === true) for (const denial of items) writeJson(terminal, denial);
  else
    new Table(terminal, ['ID', 'SINCE', 'IDENTITY', 'INSTANCE', 'NODE', 'BY', 'LIFTED']).write(
      items.map(({ id, created_at, identity, instance, node, actor, lifted_at }) => [
        String(id),
        shortTime(created_at),
        identity ?? 'any',
        instance ?? 'any',
        node ?? 'any',
        actor,
        lifted_at === null ? '-' : shortTime(lifted_at),
      ]),
    );
}
