import type {
  EndedRotation,
  NewRotation,
  Rotation,
  RotationChange,
  RotationRequest,
} from '../rotation/rotation.ts';
import type { Queryable } from './database.ts';

interface RotationRow {
  readonly id: string;
  readonly kind: Rotation['kind'];
  readonly hands_free: boolean;
  readonly urgent: boolean;
  readonly cross_sign: boolean;
  readonly hold_seconds: number;
  readonly requested: RotationRequest | null;
  readonly requested_by: string | null;
  readonly force: boolean;
  readonly old_id: string;
  readonly new_id: string | null;
  readonly gate_open_since: Date | null;
  readonly actor: string;
  readonly reason: string;
  readonly started_at: Date;
}

/** The rotations under way: at most one of each kind. */
export async function listRotations(database: Queryable): Promise<Rotation[]> {
  const rows = await database.query<RotationRow>(
    `SELECT id, kind, hands_free, urgent, cross_sign, hold_seconds, requested, requested_by, force, old_id, new_id, gate_open_since, actor, reason, started_at
     FROM rotation WHERE finished_at IS NULL ORDER BY id`,
  );
  return rows.map((row) => ({
    id: Number(row.id),
    kind: row.kind,
    handsFree: row.hands_free,
    urgent: row.urgent,
    crossSign: row.cross_sign,
    holdSeconds: row.hold_seconds,
    requested: row.requested,
    requestedBy: row.requested_by,
    force: row.force,
    oldId: row.old_id,
    newId: row.new_id,
    gateOpenSince: row.gate_open_since,
    actor: row.actor,
    reason: row.reason,
    startedAt: row.started_at,
  }));
}

/** All that are over, in no order. */
export async function listEndedRotations(database: Queryable): Promise<EndedRotation[]> {
  const rows = await database.query<
    RotationRow & { finished_at: Date; outcome: EndedRotation['outcome'] | null }
  >(
    `SELECT id, kind, urgent, old_id, new_id, actor, reason, started_at, finished_at, outcome
     FROM rotation WHERE finished_at IS NOT NULL`,
  );
  return rows.map((row) => ({
    id: Number(row.id),
    kind: row.kind,
    urgent: row.urgent,
    oldId: row.old_id,
    newId: row.new_id,
    actor: row.actor,
    reason: row.reason,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    outcome: row.outcome ?? 'done',
  }));
}

/** Whether one of this kind was begun at or after this time. Clocks of replicas differ by less than the grace of 1 s. */
export async function rotatedSince(
  database: Queryable,
  kind: Rotation['kind'],
  time: Date,
): Promise<boolean> {
  const rows = await database.query(
    "SELECT FROM rotation WHERE kind = $1 AND started_at >= $2::timestamptz - interval '1 s' LIMIT 1",
    [kind, time],
  );
  return rows.length > 0;
}

export async function insertRotation(tx: Queryable, rotation: NewRotation): Promise<void> {
  await tx.query(
    `INSERT INTO rotation (kind, hands_free, urgent, cross_sign, hold_seconds, old_id, actor, reason)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      rotation.kind,
      rotation.handsFree,
      rotation.urgent,
      rotation.crossSign,
      rotation.holdSeconds,
      rotation.oldId,
      rotation.actor,
      rotation.reason,
    ],
  );
}

/** Fields that `change` doesn't name stay as they are; an outcome ends the rotation. */
export async function updateRotation(tx: Queryable, id: number, change: RotationChange): Promise<void> {
  const columns: Record<keyof RotationChange, string> = {
    handsFree: 'hands_free',
    urgent: 'urgent',
    holdSeconds: 'hold_seconds',
    requested: 'requested',
    requestedBy: 'requested_by',
    force: 'force',
    oldId: 'old_id',
    newId: 'new_id',
    gateOpenSince: 'gate_open_since',
    outcome: 'outcome',
  };
  const fields = Object.keys(change) as (keyof RotationChange)[];
  const assignments = fields.map((field, i) => `${columns[field]} = $${i + 2}`);
  if (change.outcome !== undefined) assignments.push('finished_at = statement_timestamp()');
  await tx.query(`UPDATE rotation SET ${assignments.join(', ')} WHERE id = $1`, [
    id,
    ...fields.map((field) => change[field]),
  ]);
}
