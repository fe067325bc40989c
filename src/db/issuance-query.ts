import { decodeCursor, encodeCursor } from '../audit/cursor.ts';
import type {
  IssuanceDetail,
  IssuanceFilter,
  IssuancePage,
  IssuanceQuery,
  RecordedIssuance,
} from '../audit/query.ts';
import { CarnetError } from '../errors.ts';
import { Conditions } from './conditions.ts';
import type { Queryable } from './database.ts';
import { entryVersion } from './entry-rows.ts';
import { findRevocation } from './revocations.ts';

const MAX_PAGE = 1000;
const SERIAL = /^[0-9a-f]{32}$/;

interface IssuanceRow {
  id: string;
  recorded_at_micros: string;
  not_before: Date;
  not_after: Date;
  entry_version: number | null;
  serial: Buffer;
  profile: string;
  identity: string;
  dns_names: string[];
  authority_id: string;
  public_key_sha256: Buffer;
  certificate_sha256: Buffer;
  certificate: Buffer;
  node: string | null;
  instance: string | null;
  evidence: Record<string, unknown> | null;
  entry_id: string | null;
  requester: string;
}

const SELECT = `
  SELECT id, (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded_at_micros, not_before, not_after,
    entry_version, serial, profile, identity, dns_names, authority_id, public_key_sha256, certificate_sha256,
    certificate, node, instance, evidence, entry_id, requester
  FROM issuance`;

/** The recorded issuances, as auditors ask for them. */
export class PostgresIssuanceQuery implements IssuanceQuery {
  readonly #database: Queryable;

  constructor(database: Queryable) {
    this.#database = database;
  }

  /** A page never moves under later issuances: those come before its first item. */
  async search(
    filter: IssuanceFilter,
    page: { limit: number; cursor: string | null },
  ): Promise<IssuancePage> {
    const { text, values } = searchStatement(filter, page);
    const rows = await this.#database.query<IssuanceRow>(text, values);
    // One more than the page was asked for: whether there is a next one.
    const shown = rows.slice(0, page.limit);
    const last = rows.length > page.limit ? shown.at(-1) : undefined;
    return {
      items: shown.map(issuanceOf),
      nextCursor: last
        ? encodeCursor({ recordedAtMicros: BigInt(last.recorded_at_micros), id: BigInt(last.id) })
        : null,
    };
  }

  async get(serial: string): Promise<IssuanceDetail | undefined> {
    if (!SERIAL.test(serial)) return undefined;
    const [row] = await this.#database.query<IssuanceRow>(`${SELECT} WHERE serial = $1 LIMIT 1`, [
      Buffer.from(serial, 'hex'),
    ]);
    if (!row) return undefined;
    const entry = await entryVersion(this.#database, row.entry_id, row.entry_version);
    const revocation = await findRevocation(this.#database, serial);
    return { ...issuanceOf(row), entry, revocation };
  }

  async unrecorded(serials: readonly string[]): Promise<Set<string>> {
    const rows = await this.#database.query<{ serial: string }>(
      `SELECT given AS serial FROM unnest($1::text[]) AS given
       WHERE NOT EXISTS (SELECT FROM issuance WHERE serial = decode(given, 'hex'))`,
      [serials],
    );
    return new Set(rows.map(({ serial }) => serial));
  }
}

/**
 * One index serves any one filter in the order of the page (migrations/0001). The statement is never prepared:
 * its plan depends on the values, and costs little beside them.
 */
export function searchStatement(
  filter: IssuanceFilter,
  page: { limit: number; cursor: string | null },
): { text: string; values: unknown[] } {
  if (!Number.isInteger(page.limit) || page.limit < 1 || page.limit > MAX_PAGE)
    throw new CarnetError(
      'invalid_argument',
      `the limit is ${page.limit}, and must be from 1 to ${MAX_PAGE}`,
    );
  const conditions = conditionsOf(filter);
  if (page.cursor !== null) conditions.before(decodeCursor(page.cursor));
  const text = `${SELECT} ${conditions.where()} ORDER BY recorded_at DESC, id DESC LIMIT ${page.limit + 1}`;
  return { text, values: conditions.values };
}

function conditionsOf(filter: IssuanceFilter): Conditions {
  const conditions = new Conditions();
  if (filter.identity !== undefined) conditions.add('identity = ?', filter.identity);
  if (filter.identityPrefix !== undefined) {
    conditions.add('identity >= ?', filter.identityPrefix);
    conditions.add('identity < ?', firstAfter(filter.identityPrefix));
  }
  if (filter.instance !== undefined) conditions.add('instance = ?', filter.instance);
  if (filter.serial !== undefined) conditions.add('serial = ?', serialBytes(filter.serial));
  if (filter.node !== undefined) conditions.add('node = ?', filter.node);
  if (filter.entry !== undefined) conditions.add('entry_id = ?', filter.entry);
  if (filter.entryVersion !== undefined) conditions.add('entry_version = ?', filter.entryVersion);
  if (filter.authority !== undefined) conditions.add('authority_id = ?', filter.authority);
  if (filter.requester !== undefined) conditions.add('requester = ?', filter.requester);
  if (filter.profile !== undefined) conditions.add('profile = ?', filter.profile);
  if (filter.fingerprint !== undefined)
    conditions.add(
      '(certificate_sha256 = ? OR public_key_sha256 = ?)',
      Buffer.from(filter.fingerprint, 'hex'),
    );
  if (filter.from !== undefined) conditions.add('recorded_at >= ?', filter.from);
  if (filter.to !== undefined) conditions.add('recorded_at < ?', filter.to);
  addLife(conditions, filter);
  return conditions;
}

function addLife(conditions: Conditions, { validAt, unexpiredAt, revoked }: IssuanceFilter): void {
  if (unexpiredAt !== undefined) conditions.add(UNEXPIRED, unexpiredAt);
  if (validAt !== undefined)
    conditions.add(`${UNEXPIRED} AND NOT EXISTS (${REVOCATION} AND revoked_at <= ?)`, validAt);
  if (revoked !== undefined) conditions.addText(`${revoked ? '' : 'NOT '}EXISTS (${REVOCATION})`);
}

/** Both ends count (RFC 5280 §4.1.2.5). */
const UNEXPIRED = '(not_before <= ? AND not_after >= ?)';
const REVOCATION = 'SELECT FROM revocation WHERE revocation.serial = issuance.serial';

/** The first text, in the order of "C", that comes after all that begin with `prefix`, which is ASCII. */
function firstAfter(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

function serialBytes(serial: string): Buffer {
  if (!SERIAL.test(serial))
    throw new CarnetError(
      'invalid_argument',
      `${JSON.stringify(serial.slice(0, 100))} is not a serial: it has 32 lower-case hexadecimal digits`,
    );
  return Buffer.from(serial, 'hex');
}

function issuanceOf(row: IssuanceRow): RecordedIssuance {
  return {
    serial: row.serial.toString('hex'),
    profile: row.profile,
    identity: row.identity,
    dnsNames: row.dns_names,
    notBefore: row.not_before,
    notAfter: row.not_after,
    authority: row.authority_id,
    publicKeySha256: row.public_key_sha256,
    certificateSha256: row.certificate_sha256,
    certificate: row.certificate,
    node: row.node,
    instance: row.instance,
    evidence: row.evidence,
    entryId: row.entry_id,
    entryVersion: row.entry_version,
    requester: row.requester,
    recordedAtMicros: BigInt(row.recorded_at_micros),
  };
}
