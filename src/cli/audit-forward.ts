import { Command, InvalidArgumentError } from 'commander';
import type { SinkBody } from '../api/sinks.ts';
import { confirm } from './confirm.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { coloured, note, printable, Table, type Terminal, writeJson, writeLine } from './output.ts';
import { relativeTime } from './times.ts';

interface MoveFlags extends OperatorFlags {
  readonly to: number;
  readonly reason: string;
  readonly yes?: boolean;
}

/** `carnet audit forward status|move`. */
export function forwardCommand(terminal: Terminal): Command {
  return new Command('forward')
    .description('the sinks outside that the log is forwarded to')
    .addCommand(statusCommand(terminal))
    .addCommand(moveCommand(terminal));
}

function statusCommand(terminal: Terminal): Command {
  return operatorCommand('status')
    .description('how far each sink has got, and what keeps it')
    .addHelpText('after', '\nExample:\n  $ carnet audit forward status')
    .action(async (flags: OperatorFlags) => {
      const sinks: SinkBody[] = [];
      for await (const page of clientOf(flags, terminal).pages<SinkBody>('/v1/sinks')) sinks.push(...page);
      if (flags.json === true) for (const sink of sinks) writeJson(terminal, sink);
      else if (sinks.length === 0)
        note(
          terminal,
          'the log is forwarded nowhere: see --forward-syslog and --forward-webhook of carnet server',
        );
      else writeSinks(terminal, sinks);
    });
}

function moveCommand(terminal: Terminal): Command {
  return operatorCommand('move')
    .argument('<SINK>', 'as carnet audit forward status shows it')
    .requiredOption('--to <INDEX>', 'leaf index of the entry that it is to get next', indexOf)
    .requiredOption('--reason <TEXT>', 'why; stands in the audit log')
    .option('--yes', 'do it without asking')
    .description('have a sink go on elsewhere: back to send again, or over an entry that it will never take')
    .addHelpText(
      'after',
      '\nExample: entry 4711 is refused for ever\n  $ carnet audit forward move webhook --to 4712 --reason "longer than the receiver takes"',
    )
    .action(async (name: string, flags: MoveFlags) => {
      const client = clientOf(flags, terminal);
      await confirm(terminal, flags.yes, `${printable(name)} gets entry ${flags.to} of the log next.`);
      const path = `/v1/sinks/${encodeURIComponent(name)}/position`;
      const sink = await client.post<SinkBody>(path, { position: flags.to, reason: flags.reason });
      if (flags.json === true) writeJson(terminal, sink);
      else writeLine(terminal, printable(`${sink.name} goes on with entry ${sink.position}`));
    });
}

function writeSinks(terminal: Terminal, sinks: readonly SinkBody[]): void {
  const now = terminal.clock();
  const table = new Table(terminal, ['SINK', 'TARGET', 'NEXT', 'WAITING', 'BEHIND', 'ACKNOWLEDGED']);
  table.write(
    sinks.map((sink) => [
      sink.name,
      sink.target,
      String(sink.position),
      String(sink.lag_entries),
      `${Math.round(sink.lag_seconds)} s`,
      sink.acknowledged_at === null ? '-' : relativeTime(sink.acknowledged_at, now),
    ]),
  );
  for (const { name, problem, failures } of sinks)
    if (problem !== null)
      writeLine(
        terminal,
        coloured(terminal, 'red', printable(`  ${name} failed ${failures} times in a row: ${problem}`)),
      );
}

function indexOf(text: string): number {
  const index = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(index))
    throw new InvalidArgumentError('give the leaf index of an entry, from 0 on');
  return index;
}
