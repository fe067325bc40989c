import { type Position, timestampOf } from '../audit/cursor.ts';

/** The conditions of a statement, all of which must hold, and the values that they name as `$1` and so on. */
export class Conditions {
  readonly values: unknown[] = [];
  readonly #texts: string[] = [];

  /** `text` says with `?` where the value is. */
  add(text: string, value: unknown): void {
    this.values.push(value);
    this.#texts.push(text.replaceAll('?', `$${this.values.length}`));
  }

  /** Without a value of its own. */
  addText(text: string): void {
    this.#texts.push(text);
  }

  /** What comes after `position` in the order of pages, newest first. */
  before({ recordedAtMicros, id }: Position): void {
    // Said twice, because only the plain comparison tells which partitions can be left out.
    this.add('recorded_at <= ?', timestampOf(recordedAtMicros));
    this.add(`(recorded_at, id) < ($${this.values.length}, ?)`, id.toString());
  }

  /** The WHERE clause; empty where there is none. */
  where(): string {
    return this.#texts.length > 0 ? `WHERE ${this.#texts.join(' AND ')}` : '';
  }
}
