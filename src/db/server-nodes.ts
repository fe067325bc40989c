import type { Queryable } from './database.ts';

/** Ours: as long as anything lives that a server's own agent was issued, though the server may be away. */
const KEPT_SECONDS = 31 * 86_400;
/** Of a lease's name. All servers are one holder: it is agents of other nodes that the name is kept from. */
const PREFIX = 'node of a server: ';
const HOLDER = 'servers';

/** From now on, at all servers and for 31 days, this is the name of a server's own node, and nobody joins by it. */
export async function keepServerNode(database: Queryable, node: string): Promise<void> {
  await database.query(
    `INSERT INTO lease (name, holder, expires_at) VALUES ($1, $2, statement_timestamp() + make_interval(secs => $3))
     ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at`,
    [PREFIX + node, HOLDER, KEPT_SECONDS],
  );
}

/** A server runs on this node, and leaves it to an agent of its own. */
export async function freeServerNode(database: Queryable, node: string): Promise<void> {
  await database.query('DELETE FROM lease WHERE name = $1', [PREFIX + node]);
}

/** Whether a server is itself the agent of the node that is called so, or was within 31 days. */
export async function isServerNode(database: Queryable, node: string): Promise<boolean> {
  const rows = await database.query(
    'SELECT FROM lease WHERE name = $1 AND expires_at > statement_timestamp()',
    [PREFIX + node],
  );
  return rows.length > 0;
}
