import { CarnetError } from '../errors.ts';
import type { ExportFormat } from './export-line.ts';

const LINE_FEED = 0x0a;
const QUOTE = 0x22;
/** A line begins with its record's index: `{"leaf_index":7,` or `7,`. */
const INDEX = /^(?:\{"leaf_index":)?(\d{1,15}),/;
const INDEX_BYTES = 32;
/** Of one record, whatever its evidence: what has no end is no export. */
const MAX_LINE_BYTES = 16 * 2 ** 20;

/** Cuts what comes in pieces after whole lines, and keeps count of them. In quotes, a CSV's line goes on. */
export class ExportLines {
  /** Records, without the header of a CSV. */
  count = 0;
  /** Of whole lines. */
  bytes = 0;
  /** Of the first and the last record in the log; null for none. */
  firstIndex: number | null = null;
  lastIndex: number | null = null;
  readonly #quoted: boolean;
  #rest: Buffer = Buffer.alloc(0);
  /** Whether the rest ends within quotes. */
  #open = false;

  constructor(format: ExportFormat) {
    this.#quoted = format === 'csv';
  }

  /** The lines that are whole with this piece, each byte of which is looked at once. Throws `too_large` for one without end. */
  push(piece: Uint8Array): Buffer[] {
    const text = Buffer.concat([this.#rest, piece]);
    const lines: Buffer[] = [];
    let start = 0;
    let from = this.#rest.length;
    for (let end = text.indexOf(LINE_FEED, from); end !== -1; end = text.indexOf(LINE_FEED, from)) {
      this.#passQuotes(text.subarray(from, end));
      from = end + 1;
      if (this.#open) continue;
      lines.push(text.subarray(start, from));
      start = from;
    }
    this.#passQuotes(text.subarray(from));
    if (text.length - start > MAX_LINE_BYTES)
      throw new CarnetError('too_large', `a line is longer than ${MAX_LINE_BYTES} bytes: this is no export`);
    this.#rest = Buffer.from(text.subarray(start));
    for (const line of lines) this.#note(line);
    return lines;
  }

  /** Whether something came after the last whole line. */
  get isWhole(): boolean {
    return this.#rest.length === 0;
  }

  /** Forgets what came after the last whole line: it comes again. */
  dropRest(): void {
    this.#rest = Buffer.alloc(0);
    this.#open = false;
  }

  /** Each quote that opens is closed (RFC 4180): within a field it is doubled. */
  #passQuotes(text: Buffer): void {
    if (!this.#quoted) return;
    for (let at = text.indexOf(QUOTE); at !== -1; at = text.indexOf(QUOTE, at + 1)) this.#open = !this.#open;
  }

  #note(line: Buffer): void {
    this.bytes += line.length;
    const index = INDEX.exec(line.toString('latin1', 0, INDEX_BYTES))?.[1];
    if (index === undefined) return;
    this.count++;
    this.firstIndex ??= Number(index);
    this.lastIndex = Number(index);
  }
}
