import { hash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { exportText } from '../../src/audit/export.ts';
import { auditCommand } from '../../src/cli/audit.ts';
import { PostgresExportSource } from '../../src/db/export-source.ts';
import { tryLock } from '../../src/db/flock.ts';
import { PostgresForwardStore } from '../../src/db/forward-sinks.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { cutBatch } from '../../src/forward/batch.ts';
import { call } from '../api/harness.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { event, recordRevocation, sequenceAll } from '../db/log-fixtures.ts';
import { endOf, spawnCarnet } from '../support/carnet.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { jsonLines, runCommand, startOperator } from './harness.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
/** More than one chunk, and more than one tile. */
const SIZE = 1305;

test.before(async () => {
  await insertEvents(database, [event({ reason: '=cmd|calc' }), event({ subject: 'a,"b"\r\nc' })]);
  await insertIssuances(
    database,
    Array.from({ length: 1300 }, (_, i) => issuance({ identity: `spiffe://carnet.local/ns/${i % 13}/web` })),
  );
  await recordRevocation(database);
  await insertEvents(database, [event()]);
  await insertIssuances(database, [
    issuance({ profile: 'jwt-svid', certificate: Buffer.from('aGVhZA.Ym9keQ') }),
  ]);
  await sequenceAll(database, SIZE, 2000);
});
test.after.always(async () => {
  await database.close();
  await created.drop();
});

async function startExporter(t: ExecutionContext) {
  const operator = await startOperator(t, {
    exports: new PostgresExportSource(database),
    auditLog: new PostgresLog(database),
  });
  const { env, dataDir } = operator;
  const run = (...args: string[]) => runCommand(auditCommand, args, { env });
  return { ...operator, run, file: (name: string): string => join(dataDir, name) };
}

for (const format of ['ndjson', 'csv'])
  test.serial(
    `everything is exported as ${format}, covered by a checkpoint, and verified to the last byte`,
    async (t) => {
      const { run, file } = await startExporter(t);
      const all = file(`all.${format}`);
      const { code, stderr, stdout } = await run(
        'export',
        '--output',
        all,
        '--format',
        format,
        '--full',
        '--json',
      );
      t.is(code, 0, stderr);
      const manifest = JSON.parse(stdout);
      t.like(manifest, { size: SIZE, records: SIZE, first_index: 0, last_index: SIZE - 1 });
      const bytes = readFileSync(all);
      t.is(hash('sha256', bytes, 'hex'), manifest.sha256);
      t.is(readFileSync(`${all}.sha256`, 'utf8'), `${manifest.sha256}  all.${format}\n`);
      t.deepEqual(JSON.parse(readFileSync(`${all}.manifest.json`, 'utf8')), manifest);
      t.false(existsSync(`${all}.partial`) || existsSync(`${all}.partial.json`));

      const checked = await run('verify', '--export', all, '--verifier-key', manifest.verifier_key, '--json');
      t.is(checked.code, 0, checked.stderr);
      t.like(JSON.parse(checked.stdout), { ok: true, records: SIZE, whole: true });

      const again = await run('export', '--output', file('again'), '--format', format, '--full');
      t.is(again.code, 0, again.stderr);
      t.deepEqual(readFileSync(file('again')), bytes);
      const there = await run('export', '--output', all);
      t.is(there.code, 1);
      t.regex(there.stderr, /is there already/);
    },
  );

test.serial(
  'NDJSON has a line for each entry of the log, in its order, in the words of the REST interface',
  async (t) => {
    const { run, file, api } = await startExporter(t);
    await run('export', '--output', file('all'), '--full');
    const lines = jsonLines(readFileSync(file('all'), 'utf8'));
    t.deepEqual(
      lines.map(({ leaf_index }) => leaf_index),
      Array.from({ length: SIZE }, (_, i) => i),
    );
    t.deepEqual([...new Set(lines.map(({ kind }) => kind))].sort(), [
      'issuance',
      'operator_event',
      'revocation',
    ]);
    const { profile, certificate, token, evidence } = lines.at(-1);
    t.deepEqual([profile, certificate, token], ['jwt-svid', null, 'aGVhZA.Ym9keQ']);
    t.deepEqual(evidence, { uid: 1000, path: '/usr/bin/web' });
    t.regex(lines[500].certificate, /^-----BEGIN CERTIFICATE-----\n/);
    const plain = await call(api, 'GET', '/v1/export/issuances?from_index=500&to_index=501', {
      as: 'auditor',
    });
    const { certificate: _c, token: _t, evidence: _e, record: _r, ...fields } = lines[500];
    t.deepEqual(JSON.parse(plain.text), fields);
    t.is(plain.headers.get('content-type'), 'application/x-ndjson');
    t.is(plain.headers.get('carnet-log-size'), String(SIZE));
  },
);

for (const [options, count] of [
  [['--kind', 'issuances'], 1301],
  [['--kind', 'revocations'], 1],
  [['--kind', 'operator-events'], 3],
  [['--identity', '/ns/5/web'], 100],
  [['--identity-prefix', '/ns/1'], 400],
  [['--kind', 'issuances', '--node', 'node-1', '--from', '24h'], 1301],
  [['--to', '2020-01-01'], 0],
  [['--node', 'nowhere', '--format', 'csv'], 0],
] as const)
  test.serial(
    `${options.join(' ')} exports ${count} records, whose bytes are held to the log's`,
    async (t) => {
      const { run, file } = await startExporter(t);
      const { code, stdout, stderr } = await run(
        'export',
        '--output',
        file('x'),
        ...options,
        '--full',
        '--json',
      );
      t.is(code, 0, stderr);
      t.is(JSON.parse(stdout).records, count);
      t.is((await run('verify', '--export', file('x'))).code, 0);
    },
  );

for (const [what, change, expected] of [
  ['a field', (text: string) => text.replace('/ns/3/web', '/ns/4/web'), /entry \d+ says something else/],
  [
    'a record',
    (text: string) => text.replace('"record":"AAAAE', '"record":"AAABE'),
    /entry \d+ says something/,
  ],
  ['a line taken out', (text: string) => text.replace(/^\{"leaf_index":700,.*\n/m, ''), /records: |bytes: /],
  [
    'a line moved',
    (text: string) => text.replace(/^(\{"leaf_index":700,.*\n)(.*\n)/m, '$2$1'),
    /entry 700 is out of/,
  ],
  ['a line end', (text: string) => text.slice(0, -1), /last line is not whole/],
] as const)
  test.serial(`an export in which somebody changed ${what} is refused`, async (t) => {
    const { run, file } = await startExporter(t);
    await run('export', '--output', file('all'), '--full');
    const before = readFileSync(file('all'), 'utf8');
    const after = change(before);
    t.not(after, before);
    writeFileSync(file('all'), after);
    const { code, stderr } = await run('verify', '--export', file('all'));
    t.is(code, 1);
    t.regex(stderr, expected);
  });

test.serial(
  'an export whose manifest was made to fit what somebody changed is not of the tree',
  async (t) => {
    const { run, file } = await startExporter(t);
    await run('export', '--output', file('all'), '--full');
    const path = `${file('all')}.manifest.json`;
    const lines = readFileSync(file('all'), 'utf8').split('\n');
    // Another record of the log, which is what its own line says.
    lines[700] = (lines[701] ?? '').replace('{"leaf_index":701,', '{"leaf_index":700,');
    const text = lines.join('\n');
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    const forged = { ...manifest, bytes: Buffer.byteLength(text), sha256: hash('sha256', text, 'hex') };
    writeFileSync(file('all'), text);
    writeFileSync(path, JSON.stringify(forged));
    const { code, stderr } = await run('verify', '--export', file('all'));
    t.is(code, 1);
    t.regex(stderr, /not those of the tree that the checkpoint signs/);
  },
);

for (const format of ['ndjson', 'csv'])
  test.serial(`an export in ${format} goes on after any end, and gives the same bytes`, async (t) => {
    const { run, file } = await startExporter(t);
    const options = ['--format', format, '--full', '--from', '24h'];
    await run('export', '--output', file('one'), ...options);
    const whole = readFileSync(file('one'));
    const manifest = JSON.parse(readFileSync(`${file('one')}.manifest.json`, 'utf8'));
    for (const cut of [0, 40, 5000, whole.length - 3, whole.length]) {
      const name = file(`cut-${cut}`);
      writeFileSync(`${name}.partial`, whole);
      truncateSync(`${name}.partial`, cut);
      const asked = { kind: 'all', format, full: 'true', from: '24h' };
      const { request, checkpoint, verifier_key } = manifest;
      writeFileSync(`${name}.partial.json`, JSON.stringify({ asked, request, checkpoint, verifier_key }));
      const other = await run('export', '--output', name, '--format', format);
      t.is(other.code, 1);
      t.regex(other.stderr, /begun with other options/);
      const { code, stderr } = await run('export', '--output', name, ...options);
      t.is(code, 0, stderr);
      t.true(readFileSync(name).equals(whole), `after ${cut} bytes`);
    }
  });

test.serial('lines of nobody knows which export are not gone on with', async (t) => {
  const { run, file } = await startExporter(t);
  await run('export', '--output', file('events'), '--kind', 'operator-events');
  const lines = readFileSync(file('events'), 'utf8');
  for (const [name, start] of [
    ['cut', '{"asked":{"kind":'],
    ['none', null],
  ] as const) {
    writeFileSync(`${file(name)}.partial`, lines.slice(0, lines.indexOf('\n') + 1));
    if (start !== null) writeFileSync(`${file(name)}.partial.json`, start);
    const { code, stderr } = await run('export', '--output', file(name), '--kind', 'issuances');
    t.is(code, 1);
    t.regex(stderr, /has lines, and .* does not say of what export: remove both/);
    t.false(existsSync(file(name)));
  }
});

test.serial('what another process writes is left alone', async (t) => {
  const { run, file } = await startExporter(t);
  const held = openSync(`${file('all')}.partial`, 'a');
  t.true(tryLock(held));
  const { code, stderr } = await run('export', '--output', file('all'));
  t.is(code, 1);
  t.regex(stderr, /another process writes .*all\.partial: let it end/);
  t.false(existsSync(`${file('all')}.partial.json`));
  closeSync(held);
  t.is((await run('export', '--output', file('all'))).code, 0);
});

test.serial('an export that cannot begin leaves nothing', async (t) => {
  const { run, file } = await startExporter(t);
  writeFileSync(file('foreign'), 'no checkpoint\n');
  for (const checkpoint of ['none', 'foreign']) {
    t.is((await run('export', '--output', file('all'), '--checkpoint', file(checkpoint))).code, 1);
    t.false(existsSync(`${file('all')}.partial`) || existsSync(`${file('all')}.partial.json`), checkpoint);
  }
  t.is((await run('export', '--output', file('all'))).code, 0);
});

test.serial('what an export was begun with is written once, also where there is no room later', async (t) => {
  const { run, file } = await startExporter(t);
  symlinkSync('/dev/full', `${file('all')}.partial`);
  t.is((await run('export', '--output', file('all'))).code, 1);
  const start = `${file('all')}.partial.json`;
  const before = statSync(start, { bigint: true });
  t.is((await run('export', '--output', file('all'))).code, 1);
  const after = statSync(start, { bigint: true });
  t.deepEqual([after.ino, after.mtimeNs], [before.ino, before.mtimeNs]);
});

test.serial('each record of a part of the log is held to the tiles that a server has', async (t) => {
  const { run, file, api } = await startExporter(t);
  const log = `${api.url}/log/`;
  for (const format of ['ndjson', 'csv']) {
    const part = file(`part.${format}`);
    await run('export', '--output', part, '--identity', '/ns/5/web', '--full', '--format', format);
    const { code, stdout, stderr } = await run('verify', '--export', part, '--log', log);
    t.is(code, 0, stderr);
    t.regex(stdout, /100 records, each in the tree of 1305 entries that its checkpoint signs/);
  }
  const part = file('part.ndjson');
  const text = readFileSync(part, 'utf8');
  // A record that the log has elsewhere.
  const index = Number(/"leaf_index":(\d+)/.exec(text)?.[1]);
  writeFileSync(part, text.replace(`"leaf_index":${index},`, `"leaf_index":${index + 1},`));
  const moved = await run('verify', '--export', part, '--log', log);
  t.is(moved.code, 1);
  t.regex(moved.stderr, new RegExp(`entry ${index + 1} is not the one that the log has there`));
  await run('export', '--output', file('plain'));
  t.regex((await run('verify', '--export', file('plain'), '--log', log)).stderr, /only a full export/);
  t.regex((await run('verify', '--export', part, '--log', api.url)).stderr, /answers 404: is .* a log/);
});

test.serial('a connection that is cut is gone on with, and one record comes once', async (t) => {
  const { api, run, file, env } = await startExporter(t);
  let cuts = 3;
  const proxy = createServer(async (request, response) => {
    const headers = request.headers as Record<string, string>;
    const { status, body } = await fetch(api.url + request.url, { headers });
    response.writeHead(status);
    let sent = 0;
    for await (const piece of body ?? []) {
      sent += piece.length;
      response.write(piece.subarray(0, piece.length - 7));
      if (sent > 300_000 && cuts > 0) {
        cuts--;
        response.destroy();
        return;
      }
      response.write(piece.subarray(piece.length - 7));
    }
    response.end();
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.teardown(() => proxy.close());
  const server = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  await run('export', '--output', file('one'), '--full');
  const { code, stderr } = await runCommand(
    auditCommand,
    ['export', '--output', file('two'), '--full', '--server', server],
    { env },
  );
  t.is(code, 0, stderr);
  t.is(cuts, 0);
  t.true(readFileSync(file('two')).equals(readFileSync(file('one'))));
});

for (const signal of ['SIGINT', 'SIGKILL'] as const)
  test.serial(`an export that ${signal} ended is gone on with by the same command`, async (t) => {
    const real = new PostgresExportSource(database);
    let hangs = true;
    const { env, dataDir } = await startOperator(t, {
      auditLog: new PostgresLog(database),
      exports: {
        rows: (range, filter, limit) =>
          hangs && range.start > 0 ? new Promise(() => undefined) : real.rows(range, filter, limit),
      },
    });
    const file = join(dataDir, 'all.ndjson');
    const args = ['audit', 'export', '--output', file];
    const child = spawnCarnet(args, { env });
    const ended = endOf(child);
    await until(
      'some lines are written',
      () => existsSync(`${file}.partial`) && statSync(`${file}.partial`).size > 0,
    );
    child.kill(signal);
    const { code, stderr } = await ended;
    if (signal === 'SIGINT') {
      t.is(code, 1);
      t.regex(stderr, /stopped after \d+ records: repeat the command to go on/);
    }
    t.false(existsSync(file));
    hangs = false;
    const resumed = await endOf(spawnCarnet(args, { env }));
    t.is(resumed.code, 0, resumed.stderr);
    t.regex(resumed.stderr, /going on after [1-9]\d* records/);
    const checked = await runCommand(auditCommand, ['verify', '--export', file, '--json'], { env });
    t.like(JSON.parse(checked.stdout), { ok: true, records: SIZE });
  });

test.serial('a full disk is said, and what was written stays to go on with', async (t) => {
  const { run, file } = await startExporter(t);
  symlinkSync('/dev/full', `${file('all')}.partial`);
  const { code, stderr } = await run('export', '--output', file('all'));
  t.is(code, 1);
  t.regex(stderr, /there is no room for .*: make some and repeat the command/);
  t.true(existsSync(`${file('all')}.partial.json`));
});

test.serial('a row that is not what was logged is not exported', async (t) => {
  const undone = new Error('undone');
  const { run, file } = await startExporter(t);
  t.is((await run('export', '--output', file('good'))).code, 0);
  await t.throwsAsync(
    database.transact(async (tx) => {
      await tx.query('ALTER TABLE operator_event DISABLE TRIGGER append_only');
      await tx.query("UPDATE operator_event SET reason = 'nothing' WHERE id = 2");
      const source = new PostgresExportSource(tx);
      const form = { format: 'ndjson', full: false } as const;
      const lines = exportText(source, { kinds: ['operator_event'] }, form, { start: 0, end: SIZE });
      await t.throwsAsync(lines.next(), { message: /operator_event of log entry 1 is not what was logged/ });
      throw undone;
    }),
    { message: 'undone' },
  );
});

test.serial('a request for what the log does not have, or no issuance has, is refused', async (t) => {
  const { api } = await startExporter(t);
  for (const [path, message] of [
    [`all?size=${SIZE + 1}`, /the log has 1305 entries so far/],
    ['all?from_index=7&to_index=6', /is behind the 6 entries/],
    ['revocations?identity=/web', /only issuances have/],
    ['nothing', /kind/],
    ['all?format=xml', /format/],
  ] as const) {
    const { status, json } = await call(api, 'GET', `/v1/export/${path}`, { as: 'auditor' });
    t.is(status, 400);
    t.regex(json.detail, message);
  }
  t.is((await call(api, 'GET', '/v1/export/all', { as: 'none' })).status, 401);
});

test.serial('more exports at once than a server gives time for are told to come later', async (t) => {
  const [begun, waiting] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let asked = 0;
  const { api } = await startOperator(t, {
    auditLog: new PostgresLog(database),
    exports: {
      rows: () => {
        if (++asked === 4) begun.resolve();
        return waiting.promise.then(() => []);
      },
    },
  });
  const running = Array.from({ length: 4 }, () => call(api, 'GET', '/v1/export/all'));
  await begun.promise;
  t.is((await call(api, 'GET', '/v1/export/all')).status, 503);
  waiting.resolve();
  for (const { status } of await Promise.all(running)) t.is(status, 200);
  // What has ended counts no more, and a HEAD never did.
  for (let i = 0; i < 5; i++) t.is((await call(api, 'HEAD', '/v1/export/all')).status, 200);
  await until('there is room again', async () => (await call(api, 'GET', '/v1/export/all')).status === 200);
});

test.serial('a line is to the byte what is forwarded', async (t) => {
  const { run, file } = await startExporter(t);
  await run('export', '--output', file('all'));
  const store = new PostgresForwardStore(database);
  await store.create({ name: 'webhook', target: 'https://siem.example' }, 'start');
  const {
    rows: [first, ...more],
  } = await store.waiting('webhook', SIZE);
  if (first === undefined) return t.fail();
  t.is(readFileSync(file('all'), 'utf8'), `${cutBatch([first, ...more]).lines.join('\n')}\n`);
});
