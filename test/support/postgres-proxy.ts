import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';

/** One message on its way (PostgreSQL, "Message Formats"). */
export interface Passing {
  /** Frontend or backend message: by its type byte alone the two can't be told apart. */
  readonly from: 'client' | 'server';
  /** One letter; empty for the first message of a connection, which has none. */
  readonly type: string;
  /** The statement of a Query or a Parse, else empty. */
  readonly statement: string;
  /** Counts connections. */
  readonly connection: number;
}

/** What is to happen to the connection: before the message has gone on, or after. */
export interface Fault {
  readonly when: 'before' | 'after';
  /** Called at that moment; then the connection is cut. */
  readonly strike: () => void;
}

/** Between a client and a PostgreSQL on a Unix socket: sees each message, and can let the connection end at any. */
export interface PostgresProxy extends AsyncDisposable {
  readonly url: string;
  /** Asked of each message, in order; null lets it pass. */
  intercept: (message: Passing) => Fault | null;
}

export async function startPostgresProxy(url: string, directory: string): Promise<PostgresProxy> {
  const upstream = new URL(url);
  const target = join(upstream.searchParams.get('host') ?? '', '.s.PGSQL.5432');
  mkdirSync(directory, { recursive: true });
  upstream.searchParams.set('host', directory);
  const sockets = new Set<Socket>();
  const proxy: PostgresProxy = {
    url: upstream.href,
    intercept: () => null,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(directory, { recursive: true, force: true });
    },
  };
  let connections = 0;
  const server = createServer((client) => {
    const connection = ++connections;
    const backend = connect(target);
    const pair = [client, backend];
    for (const socket of pair) {
      sockets.add(socket.on('error', () => undefined));
      socket.once('close', () => {
        sockets.delete(socket);
        for (const other of pair) other.destroy();
      });
    }
    const cut = (): void => {
      for (const socket of pair) socket.destroy();
    };
    const relay = (from: Passing['from'], source: Socket, sink: Socket): void => {
      const split = splitter(from);
      source.on('data', (chunk: Buffer) => {
        for (const { type, bytes } of split(chunk)) {
          if (source.destroyed) return;
          const fault = proxy.intercept({
            from,
            type,
            statement: statementOf(from, type, bytes),
            connection,
          });
          if (fault === null) sink.write(bytes);
          else if (fault.when === 'before') {
            fault.strike();
            cut();
          } else {
            source.pause();
            sink.write(bytes, () => {
              fault.strike();
              cut();
            });
            return;
          }
        }
      });
    };
    relay('client', client, backend);
    relay('server', backend, client);
  });
  server.listen(join(directory, '.s.PGSQL.5432'));
  await once(server, 'listening');
  return proxy;
}

/** Cuts a stream of bytes into whole messages. A client's first has no type byte; we speak no TLS. */
function splitter(from: Passing['from']): (chunk: Buffer) => { type: string; bytes: Buffer }[] {
  let rest = Buffer.alloc(0);
  let typed = from === 'server';
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const messages: { type: string; bytes: Buffer }[] = [];
    for (;;) {
      const header = typed ? 1 : 0;
      if (rest.length < header + 4) return messages;
      const size = header + rest.readUInt32BE(header);
      if (rest.length < size) return messages;
      const bytes = rest.subarray(0, size);
      messages.push({ type: typed ? String.fromCharCode(bytes[0] ?? 0) : '', bytes });
      rest = rest.subarray(size);
      typed = true;
    }
  };
}

/** Query is its statement; Parse begins with the name of the prepared one, which pg leaves empty. */
function statementOf(from: Passing['from'], type: string, bytes: Buffer): string {
  if (from !== 'client' || (type !== 'Q' && type !== 'P')) return '';
  const text = bytes.subarray(5).toString('utf8');
  return type === 'Q' ? text.replace(/\0.*$/s, '') : (text.split('\0')[1] ?? '');
}
