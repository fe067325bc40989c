import { Command } from 'commander';
import type { HoldBody } from '../api/retention.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { Table, type Terminal, writeJson, writeLine } from './output.ts';
import { parseWhen, shortTime } from './times.ts';

interface CreateFlags extends OperatorFlags {
  readonly identity?: string;
  readonly identityPrefix?: string;
  readonly from?: string;
  readonly to?: string;
  readonly reason: string;
}

/** `carnet audit hold create|list|release`. */
export function holdCommand(terminal: Terminal): Command {
  return new Command('hold')
    .description('legal holds: what must be kept, whatever the retention policy says')
    .addCommand(createCommand(terminal))
    .addCommand(listCommand(terminal))
    .addCommand(releaseCommand(terminal));
}

function createCommand(terminal: Terminal): Command {
  return operatorCommand('create')
    .description('keep what was recorded of an identity, within a span of time, or both')
    .option('--identity <ID>', 'SPIFFE ID, or its path')
    .option('--identity-prefix <PREFIX>', 'how the SPIFFE ID, or its path, begins')
    .option('--from <TIME>', 'recorded at or after: a date, a time, or how long ago')
    .option('--to <TIME>', 'recorded before')
    .requiredOption('--reason <TEXT>', 'who asked for it, and why: stands in the audit log')
    .addHelpText(
      'after',
      "\nExample:\n  $ carnet audit hold create --identity-prefix /payments/ --from 2026-03-01 --to 2026-04-01 --reason 'case 12/26'",
    )
    .action(async (flags: CreateFlags, command: Command) => {
      if ([flags.identity, flags.identityPrefix, flags.from, flags.to].every((given) => given === undefined))
        command.error('error: say what to keep: --identity, --identity-prefix, --from, --to');
      const now = terminal.clock();
      const hold = await clientOf(flags, terminal).post<HoldBody>('/v1/holds', {
        identity: flags.identity,
        identity_prefix: flags.identityPrefix,
        from: flags.from && parseWhen('--from', flags.from, now),
        to: flags.to && parseWhen('--to', flags.to, now),
        reason: flags.reason,
      });
      if (flags.json === true) writeJson(terminal, hold);
      else writeLine(terminal, `legal hold ${hold.id} keeps ${heldOf(hold)}`);
    });
}

function listCommand(terminal: Terminal): Command {
  return operatorCommand('list')
    .description('list the legal holds, those that were released too')
    .addHelpText('after', '\nExample:\n  $ carnet audit hold list')
    .action(async (flags: OperatorFlags) => {
      const { items } = await clientOf(flags, terminal).get<{ items: HoldBody[] }>('/v1/holds');
      if (flags.json === true) for (const item of items) writeJson(terminal, item);
      else
        new Table(terminal, ['ID', 'KEEPS', 'SINCE', 'BY', 'REASON', 'RELEASED']).write(items.map(holdRow));
    });
}

function releaseCommand(terminal: Terminal): Command {
  return operatorCommand('release')
    .argument('<ID>', 'as carnet audit hold list shows it')
    .description('end a legal hold')
    .requiredOption('--reason <TEXT>', 'why: stands in the audit log')
    .addHelpText('after', "\nExample:\n  $ carnet audit hold release 3 --reason 'case 12/26 is closed'")
    .action(async (id: string, flags: OperatorFlags & { readonly reason: string }) => {
      const path = `/v1/holds/${encodeURIComponent(id)}/release`;
      const hold = await clientOf(flags, terminal).post<HoldBody>(path, { reason: flags.reason });
      if (flags.json === true) writeJson(terminal, hold);
      else writeLine(terminal, `legal hold ${hold.id} keeps nothing any more`);
    });
}

function holdRow(hold: HoldBody): string[] {
  const { id, created_at, actor, reason, released } = hold;
  const ended =
    released === null ? '-' : `${shortTime(released.at)} by ${released.actor}: ${released.reason}`;
  return [String(id), heldOf(hold), shortTime(created_at), actor, reason, ended];
}

function heldOf({ identity, identity_prefix: prefix, from, to }: HoldBody): string {
  const what = identity ?? (prefix === null ? 'everything' : `${prefix}…`);
  const since = from === null ? '' : ` from ${shortTime(from)}`;
  return `${what}${since}${to === null ? '' : ` to ${shortTime(to)}`}`;
}
