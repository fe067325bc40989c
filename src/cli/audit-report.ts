import type { Command } from 'commander';
import type { ExpiriesBody, ReportBody } from '../api/reports.ts';
import { REPORT_KEYS } from '../audit/report.ts';
import { withoutGaps } from './audit-list.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, Table, type Terminal, writeJson } from './output.ts';
import { parseWhen, shortTime } from './times.ts';

interface ReportFlags extends OperatorFlags {
  readonly by?: string;
  readonly rule?: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit?: string;
  readonly expiries?: boolean;
  readonly hours?: string;
}

const EXAMPLES = `
Examples
  how much was issued on each day of March?
  $ carnet audit report --by day --from 2026-03-01 --to 2026-04-01
  what did a rule grant most, and when for the first and the last time? (all: carnet audit granted)
  $ carnet audit report --by identity --rule web
  which nodes obtained most this week?
  $ carnet audit report --by node --from 7d --limit 20
  how many leaves end in each of the next hours?
  $ carnet audit report --expiries`;

/** `carnet audit report`. */
export function reportCommand(terminal: Terminal): Command {
  return operatorCommand('report')
    .description('count issuances, or with --expiries the leaves that are valid now by when they end')
    .option('--by <KEY>', REPORT_KEYS.join(', '))
    .option('--rule <ID>', 'only what this entry granted; by identity or day')
    .option('--from <TIME>', 'a day, or how long ago (default: 30 days; of a rule: ever)')
    .option('--to <TIME>', 'a day; exclusive (default: until now)')
    .option('--limit <N>', 'rows, 1 to 10000 (default: 1000)')
    .option('--expiries', 'count the leaves that are valid now, by the hour in which they end')
    .option('--hours <N>', 'with --expiries: how many hours ahead, 1 to 744 (default: 48)')
    .addHelpText('after', EXAMPLES)
    .action((flags: ReportFlags, command: Command) => {
      if ((flags.by === undefined) === (flags.expiries === undefined))
        command.error('error: give either --by or --expiries');
      return flags.expiries === true ? writeExpiries(terminal, flags) : writeReport(terminal, flags);
    });
}

async function writeReport(terminal: Terminal, flags: ReportFlags): Promise<void> {
  const { by, rule, limit } = flags;
  const wholeHours = by === 'hour' || by === 'profile' || by === 'authority';
  const timeOf = (flag: string, text: string | undefined): string | undefined =>
    text && wholeOf(parseWhen(flag, text, terminal.clock()), wholeHours);
  const query = withoutGaps({
    by,
    rule,
    limit,
    from: timeOf('--from', flags.from),
    to: timeOf('--to', flags.to),
  });
  const report = await clientOf(flags, terminal).get<ReportBody>('/v1/reports/issuances', query);
  if (flags.json === true) return writeJson(terminal, report);
  const time = by === 'day' || by === 'hour';
  new Table(terminal, [report.by.toUpperCase(), 'ISSUED', 'FIRST', 'LAST']).write(
    report.items.map(({ key, issued, first_at, last_at }) => [
      time && key !== null ? shortTime(key) : (key ?? '-'),
      String(issued),
      shortTime(first_at),
      shortTime(last_at),
    ]),
  );
  const hidden = report.count - report.items.length;
  const more = hidden > 0 ? `, ${hidden} rows are not shown (--limit)` : '';
  note(terminal, `${report.issued} issued, as of ${report.log_size} entries in the log${more}`);
}

async function writeExpiries(terminal: Terminal, flags: ReportFlags): Promise<void> {
  const query = withoutGaps({ hours: flags.hours });
  const expiries = await clientOf(flags, terminal).get<ExpiriesBody>('/v1/reports/expiries', query);
  if (flags.json === true) return writeJson(terminal, expiries);
  new Table(terminal, ['HOUR', 'ENDING']).write(
    expiries.hours.map(({ hour, ending }) => [shortTime(hour), String(ending)]),
  );
  if (expiries.later > 0) note(terminal, `and ${expiries.later} later`);
}

/** How long ago is meant roughly: since the beginning of that day or hour. */
function wholeOf(time: string, hours: boolean): string {
  const unit = hours ? 3_600_000 : 86_400_000;
  return new Date(Math.floor(Date.parse(time) / unit) * unit).toISOString();
}
