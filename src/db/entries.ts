import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { CarnetError } from '../errors.ts';
import type { RegistrationEntry } from '../policy/entry.ts';
import type { EntryChanges, EntryGuard, EntryInput, EntryStore } from '../policy/entry-store.ts';
import type { Database, Queryable } from './database.ts';
import { ENTRY_COLUMNS, type EntryRow, entryOf, rowOf } from './entry-rows.ts';
import { notify } from './listen.ts';
import { takeLock } from './locks.ts';
import { insertEvents } from './operator-events.ts';

/** Every server holds all entries in memory, and one operation may write as many. */
const MAX_ENTRIES = 100_000;

/** A change of one entry, with what was there before. */
interface Change {
  readonly before: RegistrationEntry | null;
  readonly after: RegistrationEntry;
}

/** Registration entries and their history. Changes are made by one transaction at a time, in all replicas. */
export class PostgresEntryStore implements EntryStore {
  readonly #database: Database;
  readonly #maxEntries: number;

  constructor(database: Database, maxEntries = MAX_ENTRIES) {
    this.#database = database;
    this.#maxEntries = maxEntries;
  }

  async list(): Promise<RegistrationEntry[]> {
    const rows = await this.#database.query<EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry ORDER BY id`);
    return rows.map(entryOf);
  }

  create(input: EntryInput, actor: string, guard: EntryGuard = allow): Promise<RegistrationEntry> {
    return this.#change(async (tx) => {
      guard(input);
      const [change] = await plan(tx, [identified(input, input.id ?? randomUUID())]);
      if (change === undefined || change.before !== null)
        throw new CarnetError(
          'already_exists',
          `there is an entry ${input.id} already: delete or apply it instead`,
        );
      await this.#write(tx, [change], actor);
      return change.after;
    });
  }

  apply(inputs: readonly EntryInput[], actor: string, guard: EntryGuard = allow): Promise<EntryChanges> {
    return this.#change(async (tx) => {
      const changes = await plan(
        tx,
        inputs.map((input) => identified(input, requireId(input))),
      );
      for (const { before, after } of changes) for (const entry of [before, after]) if (entry) guard(entry);
      if (changes.length > 0) await this.#write(tx, changes, actor);
      return {
        created: changes.filter(({ before }) => before === null).map(({ after }) => after),
        updated: changes.filter(({ before }) => before !== null).map(({ after }) => after),
        unchanged: inputs.length - changes.length,
      };
    });
  }

  delete(id: string, actor: string, guard: EntryGuard = allow): Promise<RegistrationEntry> {
    return this.#change(async (tx) => {
      const [row] = await tx.query<EntryRow>(`DELETE FROM entry WHERE id = $1 RETURNING ${ENTRY_COLUMNS}`, [
        id,
      ]);
      if (!row) throw new CarnetError('not_found', `there is no entry ${JSON.stringify(id)}`);
      const last = entryOf(row);
      guard(last);
      await insertVersions(tx, [{ ...last, version: last.version + 1 }], actor, true);
      await insertEvents(tx, [
        { actor, action: 'entry.delete', subject: id, before: { ...last }, after: null, reason: '' },
      ]);
      await notify(tx, 'entries');
      return last;
    });
  }

  #change<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return this.#database.transact(async (tx) => {
      await takeLock(tx, 'entries');
      return work(tx);
    });
  }

  async #write(tx: Queryable, changes: readonly Change[], actor: string): Promise<void> {
    const entries = changes.map(({ after }) => after);
    await tx.query(
      `INSERT INTO entry (${ENTRY_COLUMNS}) SELECT ${ENTRY_COLUMNS} FROM ${ENTRIES_IN_JSON}
       ON CONFLICT (id) DO UPDATE SET version = excluded.version, spiffe_id = excluded.spiffe_id,
         selectors = excluded.selectors, dns_names = excluded.dns_names, ttl_seconds = excluded.ttl_seconds,
         hint = excluded.hint, federates_with = excluded.federates_with`,
      [JSON.stringify(entries.map(rowOf))],
    );
    await this.#checkCount(tx);
    await insertVersions(tx, entries, actor, false);
    await insertEvents(
      tx,
      changes.map(({ before, after }) => ({
        actor,
        action: before ? 'entry.update' : 'entry.create',
        subject: after.id,
        before: before && { ...before },
        after: { ...after },
        reason: '',
      })),
    );
    await notify(tx, 'entries');
  }

  async #checkCount(tx: Queryable): Promise<void> {
    const [row] = await tx.query<{ count: number }>('SELECT count(*)::integer AS count FROM entry');
    if (row && row.count > this.#maxEntries)
      throw new CarnetError(
        'conflict',
        `there would be ${row.count} entries, and there may be ${this.#maxEntries}: delete some, or use {placeholders}`,
      );
  }
}

const allow: EntryGuard = () => undefined;

const ENTRIES_IN_JSON = `json_to_recordset($1) AS given (
  id text, version integer, spiffe_id text, selectors text[], dns_names text[], ttl_seconds integer, hint text,
  federates_with text[])`;

type IdentifiedEntry = Omit<RegistrationEntry, 'version'>;

/** The inputs that differ from what is live, as their next versions: those of a deleted entry go on counting. */
async function plan(tx: Queryable, inputs: readonly IdentifiedEntry[]): Promise<Change[]> {
  const ids = inputs.map(({ id }) => id);
  checkUnique(ids);
  const rows = await tx.query<EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE id = ANY($1)`, [ids]);
  const live = new Map(rows.map((row) => [row.id, entryOf(row)]));
  const lastVersions = await tx.query<{ id: string; version: number }>(
    'SELECT entry_id AS id, max(version) AS version FROM entry_version WHERE entry_id = ANY($1) GROUP BY entry_id',
    [ids],
  );
  const last = new Map(lastVersions.map(({ id, version }) => [id, version]));
  return inputs.flatMap((input) => {
    const before = live.get(input.id) ?? null;
    if (before && isDeepStrictEqual(before, { ...input, version: before.version })) return [];
    return [{ before, after: { ...input, version: (last.get(input.id) ?? 0) + 1 } }];
  });
}

function insertVersions(
  tx: Queryable,
  entries: readonly RegistrationEntry[],
  actor: string,
  deleted: boolean,
): Promise<object[]> {
  return tx.query(
    `INSERT INTO entry_version
       (entry_id, version, spiffe_id, selectors, dns_names, ttl_seconds, hint, federates_with, deleted, actor)
     SELECT ${ENTRY_COLUMNS}, $2, $3 FROM ${ENTRIES_IN_JSON}`,
    [JSON.stringify(entries.map(rowOf)), deleted, actor],
  );
}

function checkUnique(ids: readonly string[]): void {
  const seen = new Set<string>();
  for (const id of ids) {
    if (seen.has(id)) throw new CarnetError('entry_invalid', `the entry ${id} is given more than once`);
    seen.add(id);
  }
}

function identified(input: EntryInput, id: string): IdentifiedEntry {
  const { spiffeId, selectors, dnsNames, ttlSeconds, hint, federatesWith } = input;
  return { id, spiffeId, selectors, dnsNames, ttlSeconds, hint, federatesWith };
}

function requireId(input: EntryInput): string {
  if (input.id !== null) return input.id;
  throw new CarnetError(
    'entry_invalid',
    `the entry for ${input.spiffeId} has no id: entries that are applied need one, by which they are found again`,
  );
}
