import { Command } from 'commander';
import type { AuthorityBody } from '../api/authorities.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { PROCESS_TERMINAL, Table, type Terminal, writeJson } from './output.ts';
import { relativeTime, shortTime } from './times.ts';

/** `carnet root status`. */
export function rootCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  const status = operatorCommand('status')
    .description('show every root and issuing CA with its state')
    .addHelpText('after', '\nExample:\n  $ carnet root status')
    .action(async (flags: OperatorFlags) => {
      const { items } = await clientOf(flags, terminal).get<{ items: AuthorityBody[] }>('/v1/authorities');
      if (flags.json === true) for (const authority of items) writeJson(terminal, authority);
      else
        new Table(terminal, ['ID', 'STATE', 'KEY', 'SIGNED BY', 'EXPIRES', '']).write(
          items.map((authority) => authorityRow(authority, terminal.clock())),
        );
    });
  return new Command('root').description('the authorities: roots and issuing CAs').addCommand(status);
}

function authorityRow(authority: AuthorityBody, now: number): string[] {
  return [
    authority.id,
    authority.state,
    authority.key_algorithm,
    authority.parent === authority.id ? 'itself' : authority.parent,
    shortTime(authority.not_after),
    relativeTime(authority.not_after, now),
  ];
}
