import { ENTRY_KINDS, type EntryKind } from '../audit/log/entry.ts';
import type { LogRecord } from '../audit/log-record.ts';
import type { Queryable } from './database.ts';
import { KINDS, RECORDED_AT } from './log-rows.ts';

/** What a line says of a row of each kind, named as the row's type in TypeScript has it. */
const COLUMNS = {
  issuance: `encode(serial, 'hex') AS serial, identity, dns_names AS "dnsNames", profile, not_before AS "notBefore",
    not_after AS "notAfter", authority_id AS authority, node, instance, entry_id AS "entryId",
    entry_version AS "entryVersion", requester, public_key_sha256 AS "publicKeySha256",
    certificate_sha256 AS "certificateSha256"`,
  revocation: `encode(serial, 'hex') AS serial, authority_id AS authority, not_after AS "notAfter",
    reason_code AS "reasonCode", reason, actor, denial_id::integer AS "denialId"`,
  operator_event: 'actor, action, subject, before, after, reason',
} as const satisfies Record<EntryKind, string>;

interface EntryRow {
  readonly leaf_index: string;
  readonly kind: number;
  readonly leaf_hash: Buffer;
  readonly micros: string;
}

/** The entries from `start` on, at most `limit` of them, with their rows, in the order of the log. */
export async function readLogRecords(
  database: Queryable,
  start: number,
  limit: number,
): Promise<LogRecord[]> {
  const entries = await database.query<EntryRow>(
    `SELECT leaf_index, kind, leaf_hash, (extract(epoch FROM row_recorded_at) * 1000000)::bigint AS micros
     FROM log_entry WHERE leaf_index >= $1 AND leaf_index < $1::bigint + $2::bigint ORDER BY leaf_index`,
    [start, limit],
  );
  const kinds = new Set(entries.map(({ kind }) => kind));
  const rows = new Map<string, object>();
  for (const kind of KINDS)
    if (kinds.has(ENTRY_KINDS[kind]))
      for (const { leaf_index, ...row } of await readRows(database, kind, start, limit))
        rows.set(leaf_index, row);
  return entries.map((entry) => {
    const found = {
      leafIndex: Number(entry.leaf_index),
      leafHash: entry.leaf_hash,
      recordedAtMicros: BigInt(entry.micros),
      kind: KINDS[entry.kind - 1],
    };
    // Which columns a kind has is said above.
    return { ...found, row: rows.get(entry.leaf_index) ?? null } as LogRecord;
  });
}

/** OFFSET 0 has each entry's row looked up by its key, whatever the planner thinks of the size of history. */
function readRows(
  database: Queryable,
  kind: EntryKind,
  start: number,
  limit: number,
): Promise<{ leaf_index: string }[]> {
  return database.query(
    `SELECT leaf_index, found.* FROM log_entry CROSS JOIN LATERAL (
       SELECT ${COLUMNS[kind]} FROM ${kind} WHERE ${kind}.${RECORDED_AT[kind]} = log_entry.row_recorded_at
         AND ${kind}.id = log_entry.row_id AND ${kind}.xact = log_entry.xact OFFSET 0) AS found
     WHERE leaf_index >= $1 AND leaf_index < $1::bigint + $2::bigint AND kind = ${ENTRY_KINDS[kind]}`,
    [start, limit],
  );
}
