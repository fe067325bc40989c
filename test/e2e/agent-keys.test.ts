import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server } from '@grpc/grpc-js';
import test from 'ava';
import pg from 'pg';
import { startServer } from '../../src/cli/start-server.ts';
import { readServerConfig } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { launchAgent } from '../support/agent.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { Watcher } from '../support/watcher.ts';

const NAMES = ['a', 'b', 'c'].map((name) => `spiffe://carnet.local/${name}`);
/** Each renewed so often. */
const ROTATIONS = 3;

test.serial(
  "workloads' keys stay on their node: none is in anything that the server received, stored or logged",
  async (t) => {
    t.timeout(240_000);
    const received = recordMessages();
    const database = await createDatabase('empty');
    const dataDir = mkdtempSync(join(tmpdir(), 'carnet-keys-'));
    let logged = '';
    const log = createLogger('trace', {
      write: (line) => {
        logged += line;
      },
    });
    const flags = { 'data-dir': dataDir, 'database-url': database.url, 'no-agent': 'true' };
    const addresses = { 'http-addr': '127.0.0.1:0', 'grpc-addr': '127.0.0.1:0' };
    const server = await startServer({
      config: readServerConfig(new Map(Object.entries({ ...flags, ...addresses })), {}),
      keyEncryptionKeyText: '0'.repeat(64),
      clock: Date.now,
      log,
      signal: AbortSignal.timeout(200_000),
    });
    try {
      const call = caller(server.url, join(dataDir, 'admin.token'));
      const entries = NAMES.map((spiffe_id) => ({ ...OURS, id: spiffe_id.slice(-1), spiffe_id }));
      await call('/v1/entries:apply', { entries });
      const { token } = (await call('/v1/join-tokens', { selectors: [] })) as { token: string };
      const servers = `127.0.0.1:${server.grpcAddress?.port}`;
      await using agent = await launchAgent({ servers, joinToken: token, args: ['--log-level', 'trace'] });
      await agent.ready();
      await using watcher = new Watcher(agent.socket, NAMES);
      await until('all were renewed', () => watcher.seen.size >= NAMES.length * (1 + ROTATIONS));
      await until('the fleet is reported', () =>
        received.calls.has('/carnet.agent.v1.AgentLink/ReportFleet'),
      );

      const keys = [...watcher.keys];
      const places = {
        received: received.bytes(),
        stored: await dump(database.url),
        logged,
        agent: agent.log(),
      };
      for (const [place, contents] of Object.entries(places))
        for (const key of keys)
          for (const form of formsOf(key)) t.false(contents.includes(form as never), place);
      // What is looked for would be found: what goes with each key is there, in the forms in which it is looked for.
      const [serial = ''] = watcher.seen;
      t.true(places.stored.includes(serial));
      t.true(places.received.includes(Buffer.from(NAMES[0] ?? '')));
      t.is(keys.length, watcher.seen.size);
      t.log(
        `${keys.length} keys; ${places.received.length} bytes received in ${received.calls.size} kinds of call,`,
      );
      t.log(`${places.stored.length} characters stored, ${logged.length} logged`);
    } finally {
      await server.close();
      await database.drop();
      rmSync(dataDir, { recursive: true });
    }
  },
);

const OURS = { selectors: [`unix:uid:${process.getuid?.()}`], ttl: '5s' };

/** Every message that any service of this process is sent from now on, as it arrives: before anything is parsed of it. */
function recordMessages(): { readonly calls: Set<string>; bytes(): Buffer } {
  const messages: Buffer[] = [];
  const calls = new Set<string>();
  const { addService } = Server.prototype;
  Server.prototype.addService = function (definition, implementation) {
    const recording = Object.entries(definition).map(([name, method]) => {
      const requestDeserialize = (bytes: Buffer): unknown => {
        calls.add(method.path);
        messages.push(Buffer.from(bytes));
        return method.requestDeserialize(bytes);
      };
      return [name, { ...method, requestDeserialize }];
    });
    addService.call(this, Object.fromEntries(recording), implementation);
  };
  return { calls, bytes: () => Buffer.concat(messages) };
}

/** All that a database holds, each row as text: bytes in hex. */
async function dump(url: string): Promise<string> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
       WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
    );
    const lines: string[] = [];
    for (const { name } of rows) {
      const table = await client.query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`);
      lines.push(...table.rows.map(({ row }) => row));
    }
    return lines.join('\n');
  } finally {
    await client.end();
  }
}

/** How a key could be written: its number (which DER has in it too), and PKCS#8, each in the usual alphabets. */
function formsOf(pem: string): (Buffer | string)[] {
  const key = createPrivateKey(pem);
  const number = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url');
  const der = key.export({ format: 'der', type: 'pkcs8' });
  const texts = [number, der].flatMap((bytes) =>
    (['hex', 'base64', 'base64url'] as const).map((alphabet) => bytes.toString(alphabet)),
  );
  const lines = pem.split('\n').filter((line) => line.length === 64);
  // latin1, so that the bytes can be looked for in text, too.
  return [...texts, ...lines, number.toString('latin1'), number];
}

function caller(url: string, tokenFile: string) {
  return async (path: string, body: object): Promise<unknown> => {
    const authorization = `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`;
    const headers = { authorization, 'content-type': 'application/json' };
    const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
}
