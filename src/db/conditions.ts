import { type Position, timestampOf } from '../audit/cursor.ts';

/** The conditions of a statement, all of which must hold, and the values that they name as `$1` and so on. */
export class Conditions {
  readonly values: unknown[];
  readonly #texts: string[] = [];

  /** Values that the statement has already are passed on. */
  constructor(values: readonly unknown[] = []) {
    this.values = [...values];
  }

  /** `text` says with `?` where the value is. */
  add(text: string, value: unknown): void {
    this.#texts.push(this.bind(text, value));
  }

  /** Without a value of its own. */
  addText(text: string): void {
    this.#texts.push(text);
  }

  /** What comes after `position` in the order of pages, newest first, of a table. */
  before(table: string, { recordedAtMicros, id }: Position): void {
    // Said twice, because only the plain comparison tells which partitions can be left out.
    this.add(`${table}.recorded_at <= ?`, timestampOf(recordedAtMicros));
    this.add(`(${table}.recorded_at, ${table}.id) < ($${this.values.length}, ?)`, id.toString());
  }

  /** A condition for {@link where}, with its value. */
  bind(text: string, value: unknown): string {
    this.values.push(value);
    return text.replaceAll('?', `$${this.values.length}`);
  }

  /** The WHERE clause, with more that must hold; empty where there is nothing. */
  where(...more: readonly string[]): string {
    const texts = [...this.#texts, ...more];
    return texts.length > 0 ? `WHERE ${texts.join(' AND ')}` : '';
  }
}
