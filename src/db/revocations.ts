import type { Revocation } from '../audit/query.ts';
import type { RevokedCertificate } from '../ca/authority-store.ts';
import { CarnetError } from '../errors.ts';
import type { Denial } from '../revocation/denial.ts';
import type { CrlEntry } from '../x509/crl.ts';
import type { RevocationReason } from '../x509/revocation-reason.ts';
import type { Queryable } from './database.ts';

interface DenialRow {
  readonly id: string;
  readonly identity: string | null;
  readonly instance: string | null;
  readonly node: string | null;
  readonly reason: string;
  readonly actor: string;
  readonly created_at: Date;
  readonly lifted_at: Date | null;
}

/** All denials, the lifted ones too, by time of making. */
export function listDenials(database: Queryable): Promise<Denial[]> {
  return readDenials(database, '');
}

/** Those that somebody is denied by, of which there is a bound; the lifted ones stay for ever. */
export function listDenialsInForce(database: Queryable): Promise<Denial[]> {
  return readDenials(database, 'WHERE lifted_at IS NULL');
}

async function readDenials(database: Queryable, where: string): Promise<Denial[]> {
  const rows = await database.query<DenialRow>(
    `SELECT id, identity, instance, node, reason, actor, created_at, lifted_at FROM denial ${where} ORDER BY id`,
  );
  return rows.map((row) => ({
    id: Number(row.id),
    identity: row.identity,
    instance: row.instance,
    node: row.node,
    reason: row.reason,
    actor: row.actor,
    createdAt: row.created_at,
    liftedAt: row.lifted_at,
  }));
}

export type NewDenial = Pick<Denial, 'identity' | 'instance' | 'node' | 'reason' | 'actor'>;

/** Ours. Agents are sent all of them, and take no server that sends twice as many. */
const MAX_IN_FORCE = 50_000;

/** Returns its ID. Throws `conflict` where too many are in force. */
export async function insertDenial(tx: Queryable, denial: NewDenial, max = MAX_IN_FORCE): Promise<number> {
  const [inForce] = await tx.query<{ count: string }>(
    'SELECT count(*) AS count FROM denial WHERE lifted_at IS NULL',
  );
  if (Number(inForce?.count) >= max)
    throw new CarnetError(
      'conflict',
      `${inForce?.count} denials are in force, and agents are sent no more: first lift those of what is gone for good, with carnet revoke --list and --lift`,
    );
  const [row] = await tx.query<{ id: string }>(
    'INSERT INTO denial (identity, instance, node, reason, actor) VALUES ($1, $2, $3, $4, $5) RETURNING id',
    [denial.identity, denial.instance, denial.node, denial.reason, denial.actor],
  );
  return Number(row?.id);
}

/** Throws `not_found`. */
export async function liftDenial(tx: Queryable, id: number): Promise<void> {
  const rows = await tx.query(
    'UPDATE denial SET lifted_at = statement_timestamp() WHERE id = $1 AND lifted_at IS NULL RETURNING id',
    [id],
  );
  if (rows.length === 0) throw new CarnetError('not_found', `no denial ${id} is in force`);
}

/**
 * Revokes all that fits a denial, is still valid and isn't revoked yet. Issuances under way are waited for, and what
 * comes after them finds the denial (migration 0002): so when this transaction is over, nothing that fits is left,
 * in any replica. A token is in no CRL: it ends within minutes. Read by (not_after), whatever the history's size.
 */
export async function revokeMatching(
  tx: Queryable,
  denialId: number,
  reasonCode: RevocationReason,
): Promise<{ authorityId: string }[]> {
  await tx.query("SELECT FROM authority WHERE state <> 'retired' ORDER BY id FOR NO KEY UPDATE");
  const rows = await tx.query<{ authority_id: string }>(
    `INSERT INTO revocation (serial, authority_id, not_after, reason_code, reason, actor, denial_id)
     SELECT serial, authority_id, not_after, $2, denial.reason, denial.actor, denial.id
     FROM issuance JOIN denial ON denial.id = $1 AND lifted_at IS NULL
       AND (denial.identity IS NULL OR denial.identity = issuance.identity)
       AND (denial.instance IS NULL OR denial.instance = issuance.instance)
       AND (denial.node IS NULL OR denial.node = issuance.node)
     WHERE not_after > now() AND issuance.instance IS NOT NULL AND profile <> 'jwt-svid'
     ON CONFLICT (serial) DO NOTHING RETURNING authority_id`,
    [denialId, reasonCode],
  );
  return rows.map((row) => ({ authorityId: row.authority_id }));
}

/** Revokes one certificate by its serial; done twice, it is done. */
export async function revokeCertificate(tx: Queryable, revoked: RevokedCertificate): Promise<void> {
  await tx.query(
    `INSERT INTO revocation (serial, authority_id, not_after, reason_code, reason, actor)
     VALUES (decode($1, 'hex'), $2, $3, $4, $5, $6) ON CONFLICT (serial) DO NOTHING`,
    [
      revoked.serial,
      revoked.authorityId,
      revoked.notAfter,
      revoked.reasonCode,
      revoked.reason,
      revoked.actor,
    ],
  );
}

/** What an authority's CRL must name: the revoked certificates that have not expired. */
export async function listRevoked(tx: Queryable, authorityId: string): Promise<CrlEntry[]> {
  const rows = await tx.query<{ serial: string; revoked_at: Date; reason_code: RevocationReason }>(
    `SELECT encode(serial, 'hex') AS serial, revoked_at, reason_code FROM revocation
     WHERE authority_id = $1 AND not_after > now()`,
    [authorityId],
  );
  return rows.map((row) => ({ serial: row.serial, revokedAt: row.revoked_at, reason: row.reason_code }));
}

/** Whose certificate this is; undefined for a serial that was never issued. */
export async function findIssuance(
  tx: Queryable,
  serial: string,
): Promise<{ identity: string; instance: string | null } | undefined> {
  const [row] = await tx.query<{ identity: string; instance: string | null }>(
    "SELECT identity, instance FROM issuance WHERE serial = decode($1, 'hex') LIMIT 1",
    [serial],
  );
  return row;
}

/** What ended the certificate with this serial (lower-case hex) before its time; null for one that is not revoked. */
export async function findRevocation(database: Queryable, serial: string): Promise<Revocation | null> {
  const [row] = await database.query<{
    revoked_at: Date;
    reason_code: RevocationReason;
    reason: string;
    actor: string;
  }>("SELECT revoked_at, reason_code, reason, actor FROM revocation WHERE serial = decode($1, 'hex')", [
    serial,
  ]);
  if (row === undefined) return null;
  return { revokedAt: row.revoked_at, reasonCode: row.reason_code, reason: row.reason, actor: row.actor };
}

/** The latest CRL of an authority, DER; undefined where it has none. */
export async function findCrl(database: Queryable, authorityId: string): Promise<Uint8Array | undefined> {
  const [row] = await database.query<{ crl: Buffer }>(
    'SELECT crl FROM crl WHERE authority_id = $1 ORDER BY number DESC LIMIT 1',
    [authorityId],
  );
  return row?.crl;
}
