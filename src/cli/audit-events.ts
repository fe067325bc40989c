import type { Command } from 'commander';
import type { OperatorEventBody } from '../api/operator-events.ts';
import { type ListFlags, type Listing, pagedCommand, writeList } from './audit-list.ts';
import { operatorCommand } from './operator.ts';
import type { Terminal } from './output.ts';
import { parseWhen, shortTime } from './times.ts';

interface EventsFlags extends ListFlags {
  readonly actor?: string;
  readonly action?: string;
  readonly subject?: string;
  readonly from?: string;
  readonly to?: string;
}

const EVENTS: Listing<OperatorEventBody> = {
  path: '/v1/operator-events',
  heads: ['RECORDED', 'ACTOR', 'ACTION', 'SUBJECT', 'CHANGED', 'REASON'],
  row: (event) => [
    shortTime(event.recorded_at),
    event.actor,
    event.action,
    event.subject,
    changedFields(event).join(' ') || '-',
    event.reason || '-',
  ],
};

const EXAMPLES = `
Examples
  what did an operator do?
  $ carnet audit events --actor operator:eve --all
  who touched the rules since yesterday, and how did they read before and after?
  $ carnet audit events --action entry. --from 24h --json
  the life of one rule:
  $ carnet audit events --subject web --action entry.`;

/** `carnet audit events`. */
export function eventsCommand(terminal: Terminal): Command {
  const command = operatorCommand('events')
    .description('show what operators and schedules changed, newest first; --json has it before and after')
    .option('--actor <WHO>', 'operator:<token name>, schedule:<name> or server:<what>')
    .option('--action <ACTION>', 'what was done; with a dot at its end all of a noun: entry.')
    .option('--subject <ID>', 'what it was done to: ID of an entry, a token, an authority')
    .option('--from <TIME>', 'recorded at or after: a date, a time, or how long ago')
    .option('--to <TIME>', 'recorded before');
  return pagedCommand(command)
    .addHelpText('after', EXAMPLES)
    .action((flags: EventsFlags, self: Command) => {
      const now = terminal.clock();
      const { actor, action, subject } = flags;
      const from = flags.from === undefined ? undefined : parseWhen('--from', flags.from, now);
      const to = flags.to === undefined ? undefined : parseWhen('--to', flags.to, now);
      return writeList(terminal, EVENTS, { actor, action, subject, from, to }, flags, self);
    });
}

/** Of a change, the fields that differ; of what was made or ended, none. */
function changedFields({ before, after }: OperatorEventBody): string[] {
  if (before === null || after === null) return [];
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]),
  );
}
