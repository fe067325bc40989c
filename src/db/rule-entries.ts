import type { Queryable } from './database.ts';

/** Live entries whose ID begins with a prefix, by ID, each with who made its last version. */
export async function listMakers(
  database: Queryable,
  idPrefix: string,
): Promise<{ readonly id: string; readonly actor: string }[]> {
  return database.query<{ id: string; actor: string }>(
    `SELECT entry.id, entry_version.actor FROM entry
     JOIN entry_version ON entry_version.entry_id = entry.id AND entry_version.version = entry.version
     WHERE starts_with(entry.id, $1) ORDER BY entry.id`,
    [idPrefix],
  );
}
