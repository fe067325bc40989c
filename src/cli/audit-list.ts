import type { Command } from 'commander';
import type { Query } from './client.ts';
import { clientOf, type OperatorFlags } from './operator.ts';
import { note, Table, type Terminal, writeJson } from './output.ts';

/** The options of a command that lists history. */
export interface ListFlags extends OperatorFlags {
  readonly limit?: string;
  readonly cursor?: string;
  readonly all?: boolean;
}

/** How one kind of item is listed: where it is asked for, and its row of the table. */
export interface Listing<T> {
  readonly path: string;
  readonly heads: readonly string[];
  readonly row: (item: T) => readonly string[];
}

/** Adds the options by which a list is cut into pages. */
export function pagedCommand(command: Command): Command {
  return command
    .option('--limit <N>', 'how many at most, 1 to 1000 (default: 100)')
    .option('--cursor <CURSOR>', 'go on where an earlier search stopped')
    .option('--all', 'all of them, however many');
}

/** Writes one page of what fits the query, or with `--all` every page. */
export async function writeList<T>(
  terminal: Terminal,
  { path, heads, row }: Listing<T>,
  given: Readonly<Record<string, string | undefined>>,
  flags: ListFlags,
  command: Command,
): Promise<void> {
  if (flags.all === true && (flags.limit !== undefined || flags.cursor !== undefined))
    command.error('error: --all goes with neither --limit nor --cursor');
  const client = clientOf(flags, terminal);
  const query = withoutGaps({ ...given, limit: flags.limit, cursor: flags.cursor });
  const table = new Table(terminal, heads);
  const write = (items: readonly T[]): void => {
    if (flags.json === true) for (const item of items) writeJson(terminal, item);
    else table.write(items.map(row));
  };
  if (flags.all === true) {
    for await (const items of client.pages<T>(path, query)) write(items);
    return;
  }
  const page = await client.page<T>(path, query);
  write(page.items);
  if (page.next_cursor !== null)
    note(terminal, `there are more: repeat with --cursor ${page.next_cursor}, or with --all`);
}

/** The query of what was given. */
export function withoutGaps(given: Readonly<Record<string, string | undefined>>): Query {
  return Object.fromEntries(
    Object.entries(given).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
}
