import pg from 'pg';
import type { CarnetProcess } from '../support/carnet.ts';
import { until } from '../support/until.ts';

/**
 * Puts copies of one real issuance on record, of other services and nodes, over the last `hours` with more by day than by
 * night: so the pages have something to show, and certificates and evidence that can be read. Resolves when all are in the
 * log.
 */
export async function copyIssuances(carnet: CarnetProcess, count: number, hours: number): Promise<void> {
  const client = new pg.Client((await carnet.cli('db', 'url')).stdout.trim());
  await client.connect();
  try {
    for (let from = 0; from < count; from += ROWS_A_STATEMENT)
      await client.query(COPY, [from, Math.min(from + ROWS_A_STATEMENT, count) - 1, hours]);
    await client.query('ANALYZE');
  } finally {
    await client.end();
  }
  await until('all copies are in the log', async () => {
    const log = (await carnet.call('GET', '/v1/log')) as { waiting_since: string | null };
    return log.waiting_since === null;
  });
}

const ROWS_A_STATEMENT = 20_000;

/** $1 to $2, over $3 hours. Services are of very unequal use, as anywhere. */
const COPY = `
  INSERT INTO issuance (recorded_at, not_before, not_after, entry_version, serial, profile, identity, dns_names,
    authority_id, public_key_sha256, certificate_sha256, certificate, node, instance, evidence, entry_id, requester)
  SELECT at, at - interval '30 seconds', at + interval '1 hour', entry_version, uuid_send(gen_random_uuid()), profile,
    format('spiffe://carnet.local/%s/%s-%s', (ARRAY['payments','orders','search','media','edge'])[1 + service % 5],
      (ARRAY['api','worker','cache','gateway'])[1 + service % 4], service),
    dns_names, authority_id, public_key_sha256, certificate_sha256, certificate,
    'node-' || 1 + i % 40, 'container:' || encode(sha256((i % 4000)::text::bytea), 'hex'), evidence,
    'rule-' || service, 'agent:node-' || 1 + i % 40
  FROM (SELECT * FROM issuance WHERE profile = 'x509-svid' ORDER BY recorded_at LIMIT 1) AS original, LATERAL (
    SELECT i, floor(400 * random() ^ 3)::integer AS service,
      now() - interval '1 hour' * $3::float8 * abs(u - 0.05 * sin(4 * pi() * u)) AS at
    FROM (SELECT i, random() AS u FROM generate_series($1::integer, $2::integer) AS i) AS drawn) AS made
  ORDER BY at`;
