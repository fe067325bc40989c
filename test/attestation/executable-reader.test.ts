import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { ExecutableReader } from '../../src/attestation/executable-reader.ts';
import { until } from '../support/until.ts';

const dir = realpathSync(mkdtempSync(join(tmpdir(), 'carnet-exe-')));
const reader = new ExecutableReader(20_000);
test.after.always(() => {
  reader.close();
  rmSync(dir, { recursive: true, force: true });
});

const WAIT_MS = 20_000;
const NOBODY = 65_534;
const read = (link: string, uid = 0) => reader.read(link, uid, WAIT_MS);
const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex');

/** A link as /proc/<pid>/exe is one, to a file that the test has in hand. */
function linkTo(name: string, contents: string | null = null): { file: string; link: string } {
  const [file, link] = [join(dir, name), join(dir, `${name}.link`)];
  if (contents !== null) writeFileSync(file, contents);
  symlinkSync(file, link);
  return { file, link };
}

test.serial('reads the path and the SHA-256 of what this very process runs', async (t) => {
  t.deepEqual(await read(`/proc/${process.pid}/exe`), {
    path: realpathSync(process.execPath),
    pathIsOurs: true,
    sha256: sha256(readFileSync(process.execPath)),
    problem: null,
  });
});

test.serial(
  'a program that was deleted, or replaced by another one, is still hashed; its path is nobody else’s',
  async (t) => {
    const program = join(dir, 'sleeper');
    copyFileSync('/bin/sleep', program);
    chmodSync(program, 0o755);
    const child = spawn(program, ['60'], { stdio: 'ignore' });
    t.teardown(() => child.kill());
    await once(child, 'spawn');
    const link = `/proc/${child.pid}/exe`;
    const expected = sha256(readFileSync('/bin/sleep'));
    t.like(await read(link), { path: program, pathIsOurs: true, sha256: expected });
    writeFileSync(`${program}.new`, 'another program');
    renameSync(`${program}.new`, program);
    t.like(await read(link), { path: `${program} (deleted)`, pathIsOurs: false, sha256: expected });
    unlinkSync(program);
    writeFileSync(`${program} (deleted)`, 'named to deceive');
    t.like(await read(link), { path: `${program} (deleted)`, pathIsOurs: false, sha256: expected });
  },
);

test.serial('a path in a mount namespace that its user made is not ours', async (t) => {
  // What any user can do where the kernel lets him make user namespaces: here with root's own right.
  const real = join(dir, 'bin');
  execFileSync('mkdir', [real]);
  writeFileSync(join(real, 'web'), 'the real program');
  const script = `mount -t tmpfs none ${real} && cp /bin/sleep ${real}/web && echo ready && exec ${real}/web 60`;
  const child = spawn('unshare', ['-m', 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.teardown(() => child.kill());
  const [line] = await Promise.race([once(child.stdout, 'data'), once(child, 'close'), once(child, 'error')]);
  if (String(line) !== 'ready\n') {
    t.log('skipped: this needs the right to make a mount namespace');
    t.pass();
    return;
  }
  while (readlinkSync(`/proc/${child.pid}/exe`) !== join(real, 'web')) await new Promise(setImmediate);
  t.like(await read(`/proc/${child.pid}/exe`), {
    path: join(real, 'web'),
    pathIsOurs: false,
    sha256: sha256(readFileSync('/bin/sleep')),
  });
});

test.serial('a changed file has its new hash, also when its size and times are put back', async (t) => {
  const { file, link } = linkTo('changing', 'first');
  utimesSync(file, 1000, 1000);
  // A hash is kept once the change time, which nobody can set, is two seconds old.
  await pause(2100);
  t.is((await read(link)).sha256, sha256('first'));
  t.is((await read(link)).sha256, sha256('first'));
  for (const contents of ['other', 'third', 'again']) {
    writeFileSync(file, contents);
    utimesSync(file, 1000, 1000);
    t.is((await read(link)).sha256, sha256(contents));
  }
});

test.serial('a program that has not changed is read once', async (t) => {
  const link = `/proc/${process.pid}/exe`;
  const first = await read(link);
  const before = bytesRead();
  t.deepEqual(await read(link), first);
  t.true(bytesRead() - before < statSync(process.execPath).size / 10);
});

test.serial('a thread without work ends, and the next one goes by what it found', async (t) => {
  const own = new ExecutableReader(WAIT_MS, 1);
  t.teardown(() => own.close());
  const link = `/proc/${process.pid}/exe`;
  const threads = (): number => readdirSync('/proc/self/task').length;
  const first = await own.read(link, 0, WAIT_MS);
  const busy = threads();
  await until('the thread has ended', () => threads() < busy);
  const before = bytesRead();
  t.deepEqual(await own.read(link, 0, WAIT_MS), first);
  t.true(bytesRead() - before < statSync(process.execPath).size / 10);
});

test.serial('a program that is exchanged while it is read fails', async (t) => {
  const { file, link } = linkTo('large', '');
  truncateSync(file, 500 * 1024 * 1024);
  const { file: next } = linkTo('next', 'next');
  const own = new ExecutableReader(WAIT_MS);
  t.teardown(() => own.close());
  const result = own.read(link, 0, WAIT_MS);
  // The thread reads while this one watches for it.
  const deadline = Date.now() + WAIT_MS;
  while (!openFiles().includes(file)) if (Date.now() > deadline) t.fail('the program is never opened');
  symlinkSync(next, `${link}.new`);
  renameSync(`${link}.new`, link);
  await t.throwsAsync(result, { code: 'attestation_failed' });
  t.is((await read(link)).sha256, sha256('next'));
});

test.serial('a program of more than 512 MiB is not hashed, and that is said', async (t) => {
  const { file, link } = linkTo('huge', '');
  truncateSync(file, 512 * 1024 * 1024 + 1);
  t.like(await read(link), { path: file, pathIsOurs: true, sha256: null });
  t.regex((await read(link)).problem ?? '', /longer than/);
});

test.serial('a process that has ended fails', async (t) => {
  await t.throwsAsync(read(join(dir, 'nothing')), { code: 'attestation_failed' });
});

test.serial('a program that we may not look at is said to be unreadable', async (t) => {
  await read(linkTo('first', 'first').link);
  if (process.getuid?.() === 0) {
    // Of all threads (nptl(7)): the reading one has started.
    process.seteuid?.(NOBODY);
    t.teardown(() => process.seteuid?.(0));
  } else if (ownsProcessOne()) {
    t.log('skipped: the first process here is our own, and needs to be somebody else’s');
    t.pass();
    return;
  }
  t.deepEqual(await read('/proc/1/exe'), {
    path: null,
    pathIsOurs: false,
    sha256: null,
    problem: 'unreadable: EACCES',
  });
});

test.serial(
  'a read that hangs takes only its own caller down, and after four of them reading stops with a clear error',
  async (t) => {
    const hanging = new ExecutableReader(1000);
    t.teardown(() => hanging.close());
    const good = linkTo('good', 'good').link;
    const { file: pipe, link: hung } = linkTo('pipe');
    execFileSync('mkfifo', [pipe]);
    // Opening a pipe waits for a writer: to the thread that is a file system that doesn't answer.
    for (let i = 0; i < 4; i++) {
      await t.throwsAsync(hanging.read(hung, 1000, WAIT_MS), { code: 'timeout' });
      if (i < 3) t.is((await hanging.read(good, 1001, WAIT_MS)).sha256, sha256('good'));
    }
    await t.throwsAsync(hanging.read(good, 1001, WAIT_MS), { code: 'overloaded' });
    closeSync(openSync(pipe, constants.O_RDWR));
  },
);

test.serial('whoever waits longer than he said gives up, and the queue goes on without him', async (t) => {
  const own = new ExecutableReader(WAIT_MS);
  t.teardown(() => own.close());
  const { file, link } = linkTo('slow', '');
  truncateSync(file, 400 * 1024 * 1024);
  const { file: pipe, link: hanging } = linkTo('another-pipe');
  execFileSync('mkfifo', [pipe]);
  const first = own.read(link, 1, WAIT_MS);
  await t.throwsAsync(own.read(hanging, 2, 1), { code: 'timeout' });
  await t.notThrowsAsync(first);
  t.is((await own.read(linkTo('quick', 'quick').link, 2, WAIT_MS / 2)).sha256, sha256('quick'));
});

test.serial('closing ends every wait', async (t) => {
  const own = new ExecutableReader(WAIT_MS);
  const { link } = linkTo('any', 'any');
  const waits = [own.read(link, 1, WAIT_MS), own.read(link, 2, WAIT_MS)].map((wait) =>
    t.throwsAsync(wait, { code: 'shutting_down' }),
  );
  own.close();
  await Promise.all(waits);
});

/** The files that this process has open, its threads' too. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

function ownsProcessOne(): boolean {
  return statSync('/proc/1').uid === process.getuid?.();
}

/** By all threads of this process so far (proc_pid_io(5)). */
function bytesRead(): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}
