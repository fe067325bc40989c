import { styleText } from 'node:util';
import type { Clock } from '../clock.ts';
import { systemClock } from '../clock.ts';

/** What a command reads and writes: results to stdout, everything else to stderr. */
export interface Terminal {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly env: Readonly<NodeJS.ProcessEnv>;
  readonly clock: Clock;
}

export const PROCESS_TERMINAL: Terminal = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  clock: systemClock,
};

export type Colour = 'red' | 'yellow' | 'green' | 'dim' | 'bold';

/** Control characters, and those that turn the direction of text: a proxy chooses its own names. */
const UNPRINTABLE = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const C1 = /[\u007f-\u009f]/g;
const GAP = '  ';
/** What a column keeps when the terminal is too narrow. */
const MIN_COLUMN = 8;

/** One JSON document on a line of its own. */
export function writeJson(terminal: Terminal, document: unknown): void {
  // JSON lets the C1 controls through, of which one begins a terminal's escape sequence.
  const text = JSON.stringify(document).replace(C1, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
  terminal.stdout.write(`${text}\n`);
}

export function writeLine(terminal: Terminal, text: string): void {
  terminal.stdout.write(`${text}\n`);
}

/** A remark for a person, which is no result. */
export function note(terminal: Terminal, text: string): void {
  terminal.stderr.write(`${text}\n`);
}

/** Text from elsewhere, made safe to show: what a terminal could act on becomes `�`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, '\ufffd');
}

/** Colour, for a person at a terminal who has not said NO_COLOR. */
export function coloured({ stdout, env }: Terminal, colour: Colour, text: string): string {
  const wanted = stdout.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
  return wanted ? styleText(colour, text, { validateStream: false }) : text;
}

/**
 * A table that may be written in parts: its columns are as wide as its first rows need. At a terminal, what is
 * wider is cut; in a pipe nothing is.
 */
export class Table {
  readonly #terminal: Terminal;
  readonly #heads: readonly string[];
  #widths: readonly number[] | undefined;

  constructor(terminal: Terminal, heads: readonly string[]) {
    this.#terminal = terminal;
    this.#heads = heads;
  }

  write(rows: readonly (readonly string[])[]): void {
    const clean = rows.map((row) => row.map(printable));
    if (this.#widths === undefined) {
      this.#widths = fitWidths(naturalWidths([this.#heads, ...clean]), this.#terminal.stdout);
      writeLine(this.#terminal, coloured(this.#terminal, 'bold', this.#line(this.#heads)));
    }
    for (const row of clean) writeLine(this.#terminal, this.#line(row));
  }

  #line(cells: readonly string[]): string {
    const cut = this.#terminal.stdout.isTTY === true;
    return cells
      .map((cell, i) => {
        const width = this.#widths?.[i] ?? 0;
        return (cut ? shorten(cell, width) : cell).padEnd(width);
      })
      .join(GAP)
      .trimEnd();
  }
}

/** `NAME  value` lines, the values in one column. */
export function writeFields(terminal: Terminal, fields: readonly (readonly [string, string])[]): void {
  const width = Math.max(...fields.map(([name]) => name.length));
  for (const [name, value] of fields)
    writeLine(terminal, `${name.padEnd(width)}${GAP}${printable(value)}`.trimEnd());
}

function naturalWidths(rows: readonly (readonly string[])[]): number[] {
  const count = Math.max(...rows.map((row) => row.length));
  return Array.from({ length: count }, (_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
}

/** Takes from the widest columns until the line fits the terminal. */
function fitWidths(natural: readonly number[], stdout: Terminal['stdout']): number[] {
  const widths = [...natural];
  if (stdout.isTTY !== true || stdout.columns === undefined) return widths;
  const gaps = GAP.length * (widths.length - 1);
  for (let excess = sum(widths) + gaps - stdout.columns; excess > 0; excess--) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] ?? 0) <= MIN_COLUMN) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

/** Cuts from the middle: names begin alike and end apart. */
function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.floor((width - 1) / 2);
  return `${text.slice(0, head)}…${text.slice(text.length - (width - 1 - head))}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
