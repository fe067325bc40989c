import type { RegistrationEntry } from './entry.ts';

/** An entry as an operator writes it, already checked (policy/parse-entry.ts). Without `id`, one is made. */
export type EntryInput = Omit<RegistrationEntry, 'id' | 'version'> & { readonly id: string | null };

/** Throws for an entry that somebody may not change: it is asked for what each was, and for what it becomes. */
export type EntryGuard = (entry: Pick<RegistrationEntry, 'spiffeId'>) => void;

export interface EntryChanges {
  readonly created: readonly RegistrationEntry[];
  readonly updated: readonly RegistrationEntry[];
  /** How many were as they are already. */
  readonly unchanged: number;
}

/**
 * The registration entries in Postgres. Each change is one transaction together with its operator event and
 * the new version in the entry's history, and wakes every replica. A guard is asked within it.
 */
export interface EntryStore {
  /** All live entries, by ID. */
  list(): Promise<RegistrationEntry[]>;
  /** Throws `already_exists` for a taken ID, `conflict` past the limit on the number of entries. */
  create(input: EntryInput, actor: string, guard?: EntryGuard): Promise<RegistrationEntry>;
  /** Creates or updates each by its ID (all must have one), all or none. */
  apply(inputs: readonly EntryInput[], actor: string, guard?: EntryGuard): Promise<EntryChanges>;
  /** Throws `not_found`. Returns the last version. */
  delete(id: string, actor: string, guard?: EntryGuard): Promise<RegistrationEntry>;
}
