import type { IssuanceFilter } from '../audit/query.ts';
import { JWT_SVID } from '../ca/profile.ts';
import type { Conditions } from './conditions.ts';
import type { Queryable } from './database.ts';

/**
 * Both ends count (RFC 5280 §4.1.2.5). By a difference, because the index by not_after would be thought to help; that by
 * identity has it.
 */
const UNEXPIRED = "(not_before <= ? AND not_after - ?::timestamptz >= interval '0')";
const UNEXPIRED_OF_IDENTITY = '(not_before <= ? AND not_after >= ?)';

/** Row by row (OFFSET): a page looks at few. */
function revoked(also: string): string {
  return `EXISTS (SELECT FROM revoked_issuance AS ended WHERE ended.recorded_at = issuance.recorded_at
    AND ended.id = issuance.id${also} OFFSET 0)`;
}

/**
 * The rows that fit, by the name `issuance`, in the order of pages. What is revoked is looked for in a table of its own, which
 * has the columns that are asked by (migration 0020), and then read row by row (OFFSET): months may have gone from history.
 */
export function rowsWhere(filter: IssuanceFilter, where: string): string {
  const order = 'ORDER BY issuance.recorded_at DESC, issuance.id DESC';
  if (filter.revoked !== true) return `issuance ${where} ${order}`;
  return `(SELECT recorded_at, id FROM revoked_issuance AS issuance ${where} ${order} OFFSET 0) AS place
    CROSS JOIN LATERAL (SELECT * FROM issuance
      WHERE issuance.recorded_at = place.recorded_at AND issuance.id = place.id OFFSET 0) AS issuance
    ORDER BY place.recorded_at DESC, place.id DESC`;
}

/** Whether an index leads straight to what fits, whatever the prefix of its identity. */
export function isNarrow(filter: IssuanceFilter): boolean {
  const { identity, instance, serial, node, entry, requester, fingerprint } = filter;
  const equal = [identity, instance, serial, node, entry, requester, fingerprint];
  return filter.revoked === true || equal.some((value) => value !== undefined);
}

/** Adds all of the filter but times, the prefix, and what {@link alternativesOf} adds. */
export function addFilter(conditions: Conditions, filter: IssuanceFilter): void {
  const equal: readonly (readonly [column: string, value: unknown])[] = [
    ['identity', filter.identity],
    ['instance', filter.instance],
    ['issuance.serial', filter.serial === undefined ? undefined : Buffer.from(filter.serial, 'hex')],
    ['node', filter.node],
    ['entry_id', filter.entry],
    ['entry_version', filter.entryVersion],
    ['authority_id', filter.authority],
    ['requester', filter.requester],
    ['profile', filter.profile],
  ];
  for (const [column, value] of equal) if (value !== undefined) conditions.add(`${column} = ?`, value);
  addLife(conditions, filter);
}

function addLife(conditions: Conditions, filter: IssuanceFilter): void {
  const { identity, validAt, unexpiredAt } = filter;
  const unexpired = identity === undefined ? UNEXPIRED : UNEXPIRED_OF_IDENTITY;
  if (unexpiredAt !== undefined) conditions.add(unexpired, unexpiredAt);
  if (validAt !== undefined)
    conditions.add(`${unexpired} AND NOT ${revoked(' AND ended.revoked_at <= ?')}`, validAt);
  if (filter.revoked === false) conditions.addText(`NOT ${revoked('')}`);
}

/** Adds all of the filter but times, for rows that are few already: no index of its own is needed. */
export function addWholeFilter(conditions: Conditions, filter: IssuanceFilter): void {
  addFilter(conditions, filter);
  const { identityPrefix, fingerprint } = filter;
  if (identityPrefix !== undefined) addPrefix(conditions, identityPrefix);
  if (fingerprint !== undefined)
    conditions.add('(certificate_sha256 = ? OR public_key_sha256 = ?)', Buffer.from(fingerprint, 'hex'));
  if (filter.revoked === true) conditions.addText(revoked(''));
}

export function addPrefix(conditions: Conditions, prefix: string): void {
  conditions.add('identity >= ?', prefix);
  conditions.add('identity < ?', firstAfter(prefix));
}

/** The first text, in the order of "C", that comes after all that begin with `prefix`, which is ASCII. */
function firstAfter(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

/**
 * The WHERE clauses of which a row fits at most one, each by an index of its own: a fingerprint may be a certificate's or a
 * key's, and a requester's index leaves out the agents, which are asked for by their nodes (migration 0015).
 */
export function alternativesOf(filter: IssuanceFilter, conditions: Conditions): string[] {
  const byFingerprint = fingerprintAlternatives(filter, conditions);
  return requesterAlternatives(filter, conditions).flatMap((requester) =>
    byFingerprint.map((fingerprint) => conditions.where(...requester, ...fingerprint)),
  );
}

function requesterAlternatives({ requester }: IssuanceFilter, conditions: Conditions): string[][] {
  if (requester === undefined) return [[]];
  const elsewhere = ["requester IS DISTINCT FROM 'agent:' || node"];
  if (!requester.startsWith('agent:')) return [elsewhere];
  return [[conditions.bind('node = ?', requester.slice('agent:'.length))], elsewhere];
}

function fingerprintAlternatives({ fingerprint }: IssuanceFilter, conditions: Conditions): string[][] {
  if (fingerprint === undefined) return [[]];
  const certificate = conditions.bind('certificate_sha256 = ?', Buffer.from(fingerprint, 'hex'));
  const key = certificate.replace('certificate_sha256', 'public_key_sha256');
  return [[certificate], [key, `profile <> '${JWT_SVID.name}'`]];
}

/**
 * All tokens that a key signs have its fingerprint: such a filter is for the authority that the key is. Undefined where it
 * is for another authority at the same time, and nothing fits.
 */
export async function withTokenKey(
  database: Queryable,
  filter: IssuanceFilter,
): Promise<IssuanceFilter | undefined> {
  const { fingerprint, ...rest } = filter;
  if (fingerprint === undefined) return filter;
  const [key] = await database.query<{ id: string }>(
    "SELECT id FROM authority WHERE kind = 'jwt' AND sha256(public_key) = decode($1, 'hex')",
    [fingerprint],
  );
  if (key === undefined) return filter;
  return (filter.authority ?? key.id) === key.id ? { ...rest, authority: key.id } : undefined;
}
