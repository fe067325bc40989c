import type { Command } from 'commander';
import type { GrantedBody } from '../api/reports.ts';
import { type ListFlags, type Listing, pagedCommand, writeList } from './audit-list.ts';
import { operatorCommand } from './operator.ts';
import type { Terminal } from './output.ts';
import { shortTime } from './times.ts';

const GRANTED: Listing<GrantedBody> = {
  path: '/v1/reports/granted',
  heads: ['IDENTITY', 'ISSUED', 'FIRST', 'LAST'],
  row: ({ identity, issued, first_at, last_at }) => [
    identity,
    String(issued),
    shortTime(first_at),
    shortTime(last_at),
  ],
};

const HELP = `
What is newer than some 15 seconds is not counted yet.

Examples
  $ carnet audit granted web
  every identity that pods ever got by it, as JSON, one a line:
  $ carnet audit granted pods --all --json`;

/** `carnet audit granted`. */
export function grantedCommand(terminal: Terminal): Command {
  const command = operatorCommand('granted')
    .argument('<RULE>', 'ID of a registration entry, also of one that is gone')
    .description('list every identity that a rule ever granted, with how often, and the first and last time');
  return pagedCommand(command)
    .addHelpText('after', HELP)
    .action((entry: string, flags: ListFlags, self: Command) =>
      writeList(terminal, GRANTED, { entry }, flags, self),
    );
}
