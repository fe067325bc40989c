import type { WitnessFault } from '../audit/log/add-checkpoint.ts';
import type { SignedTree } from '../audit/log-store.ts';
import type { Witness, Witnessing, WitnessProblem, WitnessState } from '../audit/witness.ts';
import type { Queryable } from './database.ts';

/** The latest checkpoint with its cosignatures by these witnesses, in their order. */
export function findLatest(database: Queryable, witnesses: readonly Witness[]): Promise<SignedTree | null> {
  return findCheckpoint(database, 'ORDER BY size DESC LIMIT 1', [idsOf(witnesses)]);
}

/**
 * The latest checkpoint that the quorum cosigned, one at least; null for none. It is looked for from that size down
 * which so many witnesses have reached: what came after it while others are away is not gone through.
 */
export async function findWitnessed(
  database: Queryable,
  { witnesses, quorum }: Witnessing,
): Promise<SignedTree | null> {
  if (witnesses.length === 0) return null;
  const condition = `WHERE size = (
    SELECT size FROM log_cosignature WHERE witness = ANY ($1) AND size <= (
      SELECT reached.size FROM unnest($1::text[]) AS given (id), LATERAL (
        SELECT size FROM log_cosignature WHERE witness = given.id ORDER BY size DESC LIMIT 1) AS reached
      ORDER BY reached.size DESC OFFSET $2::integer - 1 LIMIT 1)
    GROUP BY size HAVING count(*) >= $2 ORDER BY size DESC LIMIT 1)`;
  return findCheckpoint(database, condition, [idsOf(witnesses), Math.max(1, quorum)]);
}

/** In the order in which they are given. */
export async function listWitnesses(
  database: Queryable,
  witnesses: readonly Witness[],
): Promise<WitnessState[]> {
  if (witnesses.length === 0) return [];
  const rows = await database.query<{
    size: string | null;
    cosigned_at: Date | null;
    behind_since: Date | null;
    code: WitnessFault | null;
    reason: string;
    since: Date;
  }>(
    `SELECT latest.size, latest.recorded_at AS cosigned_at, code, reason, since,
       (SELECT recorded_at FROM log_checkpoint WHERE size > coalesce(latest.size, 0) ORDER BY size LIMIT 1) AS behind_since
     FROM unnest($1::text[]) WITH ORDINALITY AS given (id, place)
       LEFT JOIN LATERAL (SELECT size, recorded_at FROM log_cosignature
         WHERE witness = given.id ORDER BY size DESC LIMIT 1) AS latest ON true
       LEFT JOIN log_witness_problem ON witness = given.id
     ORDER BY place`,
    [idsOf(witnesses)],
  );
  return rows.map(({ size, cosigned_at, behind_since, code, reason, since }, i) => ({
    ...(witnesses[i] as Witness),
    size: Number(size ?? 0),
    cosignedAt: cosigned_at,
    behindSince: behind_since,
    problem: code === null ? null : { code, reason, since },
  }));
}

export async function insertCosignature(
  database: Queryable,
  witness: Witness,
  size: number,
  line: string,
): Promise<void> {
  await database.query(
    'INSERT INTO log_cosignature (size, witness, line) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
    [size, witness.id, line],
  );
}

export async function setProblem(
  database: Queryable,
  { id }: Witness,
  problem: WitnessProblem | null,
): Promise<void> {
  if (problem === null) await database.query('DELETE FROM log_witness_problem WHERE witness = $1', [id]);
  else
    await database.query(
      `INSERT INTO log_witness_problem (witness, code, reason) VALUES ($1, $2, $3)
       ON CONFLICT (witness) DO UPDATE SET code = excluded.code, reason = excluded.reason, since = excluded.since`,
      [id, problem.code, problem.reason],
    );
}

async function findCheckpoint(
  database: Queryable,
  condition: string,
  values: readonly unknown[],
): Promise<SignedTree | null> {
  const [row] = await database.query<{ size: string; root: Buffer; note: string; lines: string[] }>(
    `SELECT size, root, note, ARRAY(SELECT line FROM log_cosignature
       WHERE log_cosignature.size = log_checkpoint.size AND witness = ANY ($1)
       ORDER BY array_position($1::text[], witness)) AS lines
     FROM log_checkpoint ${condition}`,
    values,
  );
  if (row === undefined) return null;
  return { size: Number(row.size), root: row.root, note: row.note + row.lines.join('') };
}

function idsOf(witnesses: readonly Witness[]): string[] {
  return witnesses.map(({ id }) => id);
}
