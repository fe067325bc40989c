import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';

/** A way to a database on which notices can be swallowed: what is notified meanwhile is not heard on the other side. */
export interface DeafPostgres {
  readonly url: string;
  deaf: boolean;
  /** Notices swallowed so far. */
  readonly swallowed: number;
  close(): void;
}

/** The type of a NotificationResponse (PostgreSQL's protocol, "Message Formats"). */
const NOTIFICATION = 'A'.charCodeAt(0);

/** Stands before the tests' PostgreSQL, at `databaseUrl`. */
export async function startDeafPostgres(databaseUrl: string): Promise<DeafPostgres> {
  const sockets = new Set<Socket>();
  let swallowed = 0;
  const server = createServer((client) => {
    const behind = connectTo(databaseUrl);
    let rest = Buffer.alloc(0);
    client.pipe(behind);
    behind.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      // A type, and a length that counts itself.
      while (rest.length >= 5 && rest.length >= 1 + rest.readUInt32BE(1)) {
        const length = 1 + rest.readUInt32BE(1);
        if (rest[0] === NOTIFICATION && way.deaf) swallowed++;
        else client.write(rest.subarray(0, length));
        rest = rest.subarray(length);
      }
    });
    for (const [one, other] of [
      [client, behind],
      [behind, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  url.searchParams.delete('host');
  const way = {
    url: url.href,
    deaf: false,
    get swallowed() {
      return swallowed;
    },
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return way;
}

/** Over TCP, or the socket in the directory that `?host=` names. */
function connectTo(databaseUrl: string): Socket {
  const url = new URL(databaseUrl);
  const port = Number(url.port || 5432);
  const directory = url.searchParams.get('host');
  return directory?.startsWith('/')
    ? createConnection(`${directory}/.s.PGSQL.${port}`)
    : createConnection(port, url.hostname);
}
