import type { Database } from '../../src/db/database.ts';

/** How far back the rows go; the partition of each month is made. */
export const HISTORY_MONTHS = 24;
/** With which {@link fillHistory} need not wait for the disk; how fast questions are answered they don't change. */
export const FILL_SETTINGS = { fsync: 'off', max_wal_size: '8GB', maintenance_work_mem: '1GB' } as const;

const STATEMENT_ROWS = 100_000;
const SERVICES = 5000;

interface Index {
  readonly name: string;
  readonly definition: string;
}

/**
 * Fills the tables that auditors ask with `rows` issuances over two years, in the order of time, as they come: 5,000
 * services of very unequal use in 50 namespaces, one identity a pod for some, 1,000 nodes, a new issuing CA each week,
 * tokens, revocations, and who changed which of the rules. Indexes are made afterwards. Returns what it made.
 */
export async function fillHistory(database: Database, rows: number): Promise<string> {
  const begin = performance.now();
  const indexes = await database.query<Index>(SECONDARY_INDEXES);
  for (const { name } of indexes) await database.query(`DROP INDEX ${name}`);
  for (let month = HISTORY_MONTHS; month > 0; month--) await database.query(createPartition(month));
  await Promise.all([fillIssuances(database, rows, 0), fillIssuances(database, rows, 1)]);
  await fillRules(database);
  for (const { definition } of indexes) await database.query(definition);
  // Each looks for its row.
  await database.query(INSERT_REVOCATIONS, [Math.min(1, 5000 / rows)]);
  await database.query('VACUUM ANALYZE');
  const [size] = await database.query<{ tables: string; indexes: string }>(SIZES);
  const seconds = ((performance.now() - begin) / 1000).toFixed(0);
  return `${rows} issuances over ${HISTORY_MONTHS} months, made in ${seconds} s: tables ${size?.tables}, indexes ${size?.indexes}`;
}

/** Every second portion, so that two connections share the work: within a month, the order of rows is nearly that of time. */
async function fillIssuances(database: Database, rows: number, first: 0 | 1): Promise<void> {
  for (let from = first * STATEMENT_ROWS; from < rows; from += 2 * STATEMENT_ROWS)
    await database.query(INSERT_ISSUANCES, [from, Math.min(from + STATEMENT_ROWS, rows) - 1, rows]);
}

async function fillRules(database: Database): Promise<void> {
  for (const statement of [INSERT_VERSIONS, INSERT_EVENTS]) await database.query(statement, [SERVICES]);
  await database.query(INSERT_AUTHORITIES);
  for (const statement of INSERT_COUNTS) await database.query(statement);
}

/** The months that carnet_ensure_partitions, which looks ahead, doesn't make: `month` counts back from this one. */
function createPartition(month: number): string {
  return `DO $$ DECLARE first timestamp := date_trunc('month', now() AT TIME ZONE 'UTC') - interval '${month} months';
    BEGIN EXECUTE format('CREATE TABLE %I PARTITION OF issuance FOR VALUES FROM (%L) TO (%L)',
      'issuance' || to_char(first, '"_"YYYY"_"MM'), first AT TIME ZONE 'UTC',
      (first + interval '1 month') AT TIME ZONE 'UTC'); END $$`;
}

const SECONDARY_INDEXES = `
  SELECT indexrelid::regclass::text AS name, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') AS definition
  FROM pg_index WHERE indrelid = 'issuance'::regclass AND NOT indisprimary ORDER BY 1`;

const SIZES = `
  SELECT pg_size_pretty(sum(pg_table_size(inhrelid))) AS tables, pg_size_pretty(sum(pg_indexes_size(inhrelid))) AS indexes
  FROM pg_inherits WHERE inhparent = 'issuance'::regclass`;

/**
 * $1 to $2 of $3. `service` has a cubic skew: the first has 6 % of all rows, the last one in 15,000. One row in 50 is of a
 * pod with an identity of its own, one in 20 a JWT-SVID, one in 100,000 a CA certificate, and one in 40 lives for a day.
 */
const INSERT_ISSUANCES = `
  INSERT INTO issuance (recorded_at, not_before, not_after, entry_version, serial, profile, identity, dns_names,
    authority_id, public_key_sha256, certificate_sha256, certificate, node, instance, evidence, entry_id, requester)
  SELECT at, at - interval '30 seconds',
    at + CASE profile WHEN 'jwt-svid' THEN interval '5 minutes' WHEN 'issuing-ca' THEN interval '14 days'
      ELSE CASE WHEN i % 40 = 7 THEN interval '1 day' ELSE interval '1 hour' END END,
    CASE WHEN profile = 'issuing-ca' THEN NULL ELSE 1 + i % 3 END,
    uuid_send(md5('serial' || i)::uuid), profile,
    CASE WHEN profile = 'issuing-ca' THEN 'spiffe://carnet.local'
      WHEN pod THEN 'spiffe://carnet.local/pods/' || md5('pod' || i / 4)
      ELSE format('spiffe://carnet.local/ns/team-%s/service-%s', service / 100, service) END,
    ARRAY[format('service-%s.internal', service)],
    CASE profile WHEN 'jwt-svid' THEN 'jwt-' || to_char(at, 'YYYYMM') WHEN 'issuing-ca' THEN 'root-1'
      ELSE 'issuing-' || to_char(at, 'IYYYIW') END,
    CASE WHEN profile = 'jwt-svid' THEN sha256(('jwt-' || to_char(at, 'YYYYMM'))::bytea)
      ELSE uuid_send(md5('key' || i)::uuid) || uuid_send(md5('kex' || i)::uuid) END,
    uuid_send(md5('certificate' || i)::uuid) || uuid_send(md5('cert' || i)::uuid),
    decode(repeat(md5(i::text), 38), 'hex'),
    CASE WHEN profile = 'issuing-ca' THEN NULL ELSE 'node-' || node END,
    CASE WHEN profile = 'issuing-ca' THEN NULL ELSE 'container:' || repeat(md5('container' || i / 20), 2) END,
    CASE WHEN profile = 'issuing-ca' THEN NULL ELSE format(
      '{"method":"unix","pid":%s,"name":"service","uid":%s,"gid":1000,"executable":"/usr/local/bin/service","executable_sha256":"%s","cgroups":["0::/kubepods/%s"],"selectors":["k8s:ns:team-%s","k8s:sa:service-%s","unix:gid:1000","unix:path:/usr/local/bin/service","unix:uid:%s"]}',
      i, service, repeat(md5(service::text), 2), md5(i::text), service / 100, service, service)::json END,
    CASE WHEN profile = 'issuing-ca' THEN NULL WHEN pod THEN 'pods' ELSE 'entry-' || service END,
    CASE WHEN profile = 'issuing-ca' THEN 'schedule:authorities'
      WHEN i % 30 = 4 THEN format('kubernetes:pcr/team-%s/request-%s', service / 100, i)
      ELSE 'agent:node-' || node END
  FROM (
    SELECT i, now() - interval '${HISTORY_MONTHS} months' * (1 - i::float8 / $3::integer) AS at,
      floor(${SERVICES} * random() ^ 3)::integer AS service, floor(1000 * random() ^ 2)::integer AS node,
      i % 50 = 3 AS pod,
      CASE WHEN i % 100000 = 11 THEN 'issuing-ca' WHEN i % 20 = 5 THEN 'jwt-svid' ELSE 'x509-svid' END AS profile
    FROM generate_series($1::integer, $2::integer) AS i
  ) AS made`;

/** Three versions of each rule, the first from before the first issuance, the last in the middle of the time. */
const INSERT_VERSIONS = `
  INSERT INTO entry_version (entry_id, version, spiffe_id, selectors, dns_names, ttl_seconds, deleted, actor, recorded_at)
  SELECT 'entry-' || service, version, format('spiffe://carnet.local/ns/team-%s/service-%s', service / 100, service),
    ARRAY['k8s:ns:team-' || service / 100, 'k8s:sa:service-' || service, 'unix:uid:' || service], '{}', 3600, false,
    'operator:' || floor(50 * random() ^ 2), now() - interval '25 months' + interval '6 months' * (version - 1)
  FROM generate_series(0, $1::integer - 1) AS service, generate_series(1, 3) AS version`;

const INSERT_EVENTS = `
  INSERT INTO operator_event (recorded_at, actor, action, subject, before, after, reason)
  SELECT recorded_at, actor, CASE version WHEN 1 THEN 'entry.create' ELSE 'entry.update' END, entry_id,
    CASE version WHEN 1 THEN NULL ELSE json_build_object('id', entry_id, 'version', version - 1) END,
    json_build_object('id', entry_id, 'version', version, 'spiffeId', spiffe_id, 'selectors', selectors), ''
  FROM entry_version WHERE $1::integer > 0
  UNION ALL
  SELECT now() - interval '24 months' * random(), 'operator:' || floor(50 * random() ^ 2),
    (ARRAY['token.create', 'token.revoke', 'revocation.create', 'authority.activate', 'rotation.start'])[1 + i % 5],
    'subject-' || i, NULL, '{}', 'made'
  FROM generate_series(1, 85000) AS i`;

const INSERT_AUTHORITIES = `
  INSERT INTO authority (id, kind, state, parent_id, key_algorithm, certificate, public_key, not_before, not_after)
  SELECT 'root-1', 'root', 'active', 'root-1', 'ec-p256', ''::bytea, NULL::bytea, now(), now()
  UNION ALL
  SELECT DISTINCT authority_id, 'jwt', 'active', authority_id, 'ec-p256', NULL::bytea, authority_id::bytea, now(), now()
  FROM issuance WHERE profile = 'jwt-svid'`;

/** As src/db/count-issuances.ts counts them, which does so by the log. */
const INSERT_COUNTS = [
  `INSERT INTO issuance_by_rule
   SELECT (recorded_at AT TIME ZONE 'UTC')::date, coalesce(entry_id, ''), identity, count(*), min(recorded_at), max(recorded_at)
   FROM issuance GROUP BY 1, 2, 3`,
  `INSERT INTO issuance_by_node
   SELECT (recorded_at AT TIME ZONE 'UTC')::date, coalesce(node, ''), count(*), min(recorded_at), max(recorded_at)
   FROM issuance GROUP BY 1, 2`,
  `INSERT INTO issuance_by_signer
   SELECT date_trunc('hour', recorded_at, 'UTC'), profile, authority_id, count(*), min(recorded_at), max(recorded_at)
   FROM issuance GROUP BY 1, 2, 3`,
];

/** Of a share of $1 of all: those of one pod in each ten of them at once, as one who revokes an instance does. */
const INSERT_REVOCATIONS = `
  INSERT INTO revocation (serial, authority_id, not_after, reason_code, reason, actor, revoked_at)
  SELECT serial, 'root-1', not_after, 'keyCompromise', 'made', 'operator:1', recorded_at + interval '10 minutes'
  FROM issuance TABLESAMPLE BERNOULLI ($1::float8 * 100) WHERE profile = 'x509-svid'`;
