import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { listenOnPath } from '../../src/agent/socket-path.ts';

const dir = mkdtempSync(join(tmpdir(), 'carnet-path-'));
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

function newServer(t: ExecutionContext): Server {
  const server = createServer((socket) => socket.on('error', () => socket.destroy()).end('hello'));
  t.teardown(() => server.close());
  return server;
}

/** What a server that was killed leaves behind. */
async function leaveStaleSocket(path: string): Promise<void> {
  const server = createServer().listen(`${path}.dead`);
  await once(server, 'listening');
  renameSync(`${path}.dead`, path);
  await new Promise((resolve) => server.close(resolve));
}

test('listens, with the mode that it is given', async (t) => {
  const path = join(dir, 'new.sock');
  await listenOnPath(newServer(t), path, 0o666);
  t.is(lstatSync(path).mode & 0o777, 0o666);
  const other = join(dir, 'narrow.sock');
  await listenOnPath(newServer(t), other, 0o600);
  t.is(lstatSync(other).mode & 0o777, 0o600);
});

test('takes the place of a socket that a dead server left behind', async (t) => {
  const path = join(dir, 'stale.sock');
  await leaveStaleSocket(path);
  t.true(lstatSync(path).isSocket());
  await listenOnPath(newServer(t), path, 0o666);
  const [data] = await once(connect(path), 'data');
  t.is(String(data), 'hello');
});

test('leaves a socket alone on which somebody answers', async (t) => {
  const path = join(dir, 'live.sock');
  await listenOnPath(newServer(t), path, 0o666);
  await t.throwsAsync(listenOnPath(newServer(t), path, 0o666), { code: 'conflict' });
  const [data] = await once(connect(path), 'data');
  t.is(String(data), 'hello');
});

test('leaves a file alone that is no socket', async (t) => {
  const path = join(dir, 'file');
  writeFileSync(path, 'precious');
  await t.throwsAsync(listenOnPath(newServer(t), path, 0o666), { code: 'config_invalid' });
  t.is(readFileSync(path, 'utf8'), 'precious');
});

test('leaves a symbolic link alone, also one to a stale socket', async (t) => {
  const path = join(dir, 'link.sock');
  await leaveStaleSocket(`${path}.target`);
  symlinkSync(`${path}.target`, path);
  await t.throwsAsync(listenOnPath(newServer(t), path, 0o666), { code: 'config_invalid' });
  t.true(existsSync(`${path}.target`));
});

test('a directory that is missing is said to be', async (t) => {
  const path = join(dir, 'missing', 'a.sock');
  const error = await t.throwsAsync(listenOnPath(newServer(t), path, 0o666), { code: 'config_invalid' });
  t.true(error?.message.includes(path));
});

test('a path of 107 bytes is taken, and one of 108 refused with its length (unix(7))', async (t) => {
  const fill = 107 - Buffer.byteLength(`${dir}/é`);
  const path = `${dir}/é${'x'.repeat(fill)}`;
  await listenOnPath(newServer(t), path, 0o666);
  t.true(existsSync(path));
  const error = await t.throwsAsync(listenOnPath(newServer(t), `${path}y`, 0o666), {
    code: 'config_invalid',
  });
  t.regex(error?.message ?? '', /108 bytes/);
});
