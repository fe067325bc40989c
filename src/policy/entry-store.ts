import type { RegistrationEntry } from './entry.ts';

/** An entry as an operator writes it, already checked (policy/parse-entry.ts). Without `id`, one is made. */
export type EntryInput = Omit<RegistrationEntry, 'id' | 'version'> & { readonly id: string | null };

export interface EntryChanges {
  readonly created: readonly RegistrationEntry[];
  readonly updated: readonly RegistrationEntry[];
  /** How many were as they are already. */
  readonly unchanged: number;
}

/**
 * The registration entries in Postgres. Each change is one transaction together with its operator event and
 * the new version in the entry's history, and wakes every replica.
 */
export interface EntryStore {
  /** All live entries, by ID. */
  list(): Promise<RegistrationEntry[]>;
  /** Throws `already_exists` for a taken ID, `conflict` past the limit on the number of entries. */
  create(input: EntryInput, actor: string): Promise<RegistrationEntry>;
  /** Creates or updates each by its ID (all must have one), all or none. */
  apply(inputs: readonly EntryInput[], actor: string): Promise<EntryChanges>;
  /** Throws `not_found`. Returns the last version. */
  delete(id: string, actor: string): Promise<RegistrationEntry>;
}
