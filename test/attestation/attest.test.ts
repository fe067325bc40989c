import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createUnixAttestor, type UnixAttestorOptions } from '../../src/attestation/attest.ts';
import { type Peer, readPeer } from '../../src/attestation/peer-credentials.ts';
import type { ProcessFacts } from '../../src/attestation/process.ts';
import { CarnetError } from '../../src/errors.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import { type Caller, IS_ROOT, NOBODY, PublicDirectory } from './caller.ts';
import { BOOT_ID, ProcTree } from './proc-tree.ts';

const LAST_PID = '/proc/sys/kernel/ns_last_pid';
const FAILED = { code: 'attestation_failed' };
const CONTAINER = 'c0ffee00'.repeat(8);

const directory = new PublicDirectory();
const attestor = createUnixAttestor();
test.after.always(() => {
  attestor.close();
  directory.remove();
});

/** A peer as the kernel would tell of one, of a process in a fixture tree. */
function peerOf(pid: number, changes: Partial<Peer> = {}): Peer {
  return {
    pid,
    uid: 1000,
    gid: 1000,
    askedAtBootMs: 42_420,
    hasExited: () => false,
    close: () => undefined,
    ...changes,
  };
}

function fixture(t: ExecutionContext, options: Partial<UnixAttestorOptions> = {}, uidMap?: string) {
  const tree = new ProcTree(uidMap);
  writeFileSync(join(tree.root, 'passwd'), 'web:x:1000:1000:::\n');
  writeFileSync(join(tree.root, 'group'), 'web:x:1000:\n');
  const own = createUnixAttestor({
    procRoot: tree.root,
    passwdFile: join(tree.root, 'passwd'),
    groupFile: join(tree.root, 'group'),
    ...options,
  });
  t.teardown(() => {
    own.close();
    tree.remove();
  });
  const program = join(tree.root, 'program');
  writeFileSync(program, 'a program');
  return { tree, attest: own.attest, program };
}

const sha256 = (contents: string | Buffer): string => createHash('sha256').update(contents).digest('hex');

test('finds every selector of a process in a container, sorted, and what it was found by', async (t) => {
  const { tree, attest, program } = fixture(t);
  tree.write(7, { cgroup: `0::/system.slice/docker-${CONTAINER}.scope\n`, groups: [1000, 27], exe: program });
  const { instance, selectors, evidence } = await attest(peerOf(7));
  t.is(instance, `container:${CONTAINER}`);
  t.deepEqual(selectors as readonly string[], [
    `container:id:${CONTAINER}`,
    'unix:gid:1000',
    'unix:group:web',
    `unix:path:${program}`,
    `unix:sha256:${sha256('a program')}`,
    'unix:supplementary_gid:1000',
    'unix:supplementary_gid:27',
    'unix:uid:1000',
    'unix:user:web',
  ]);
  t.deepEqual(evidence, {
    method: 'unix',
    pid: 7,
    start_ticks: 4242,
    boot_id: BOOT_ID,
    name: 'web',
    uid: 1000,
    gid: 1000,
    supplementary_gids: [27, 1000],
    executable: program,
    executable_sha256: sha256('a program'),
    executable_problem: null,
    container_id: CONTAINER,
    cgroups: [`0::/system.slice/docker-${CONTAINER}.scope`],
  });
});

test("what platforms tell is added, with their evidence beside the kernel's", async (t) => {
  const seen: ProcessFacts[] = [];
  const platforms = [
    {
      method: 'docker',
      attest: (facts: ProcessFacts) => {
        seen.push(facts);
        return Promise.resolve({
          selectors: [parseSelector('docker:label:a:b')],
          evidence: { name: '/web' },
        });
      },
    },
    { method: 'kubernetes', attest: () => Promise.resolve(null) },
  ];
  const { tree, attest, program } = fixture(t, { platforms });
  tree.write(7, { cgroup: `0::/system.slice/docker-${CONTAINER}.scope\n`, exe: program });
  const { instance, selectors, evidence } = await attest(peerOf(7));
  t.is(instance, `container:${CONTAINER}`);
  t.deepEqual([...selectors].sort(), selectors);
  t.true((selectors as readonly string[]).includes('docker:label:a:b'));
  t.deepEqual(evidence.docker, { name: '/web' });
  t.false('kubernetes' in evidence);
  t.deepEqual(seen[0]?.container, { id: CONTAINER, podUid: null });
});

test("a platform that can't be asked fails the caller, who could get another identity with fewer selectors", async (t) => {
  const attestPlatform = () => Promise.reject(new CarnetError('unavailable', 'kubelet is away'));
  const { tree, attest, program } = fixture(t, {
    platforms: [{ method: 'kubernetes', attest: attestPlatform }],
  });
  tree.write(7, { exe: program });
  await t.throwsAsync(attest(peerOf(7)), { code: 'unavailable' });
});

test('a process outside of containers is an instance by boot, pid and start time', async (t) => {
  const { tree, attest, program } = fixture(t);
  tree.write(7, { exe: program });
  t.is((await attest(peerOf(7))).instance, `process:${BOOT_ID}:7:4242`);
});

test('evidence of a caller that names everything badly is printable, and a few KiB at most', async (t) => {
  const { tree, attest, program } = fixture(t);
  const long = join(program, '..', ...Array(12).fill('\u001b[2J'.repeat(60)));
  mkdirSync(long, { recursive: true });
  writeFileSync(join(long, 'web'), 'x');
  tree.write(7, {
    name: 'a\u001b[2J\nb',
    cgroup: Array.from({ length: 40 }, (_, i) => `${i}:x:/${'\u0007'.repeat(1000)}`).join('\n'),
    groups: Array.from({ length: 1000 }, (_, i) => i),
    exe: join(long, 'web'),
  });
  const { selectors, evidence } = await attest(peerOf(7));
  const text = JSON.stringify(evidence);
  t.true(text.length < 8192, `${text.length}`);
  t.notRegex(text, /[\p{Cc}\p{Cf}]|\\u00/u);
  t.deepEqual(JSON.parse(text), evidence);
  t.is(selectors.filter((one) => one.startsWith('unix:supplementary_gid:')).length, 128);
  t.false(selectors.some((one) => one.startsWith('unix:path:')));
});

for (const [claim, files, peer] of [
  ['runs as another user than connected', {}, { uid: 1001 }],
  ['runs as another group than connected', {}, { gid: 1001 }],
  ['started after the one that connected', { startTicks: 4243 }, {}],
  ['is a zombie', { state: 'Z' }, {}],
  ['has ended, by its pidfd', {}, { hasExited: () => true }],
  ['is not in /proc', {}, { pid: 8 }],
] as const)
  test(`refuses a caller whose process ${claim}`, async (t) => {
    const { tree, attest, program } = fixture(t);
    tree.write(7, { exe: program, ...files });
    await t.throwsAsync(attest(peerOf(7, peer)), FAILED);
  });

for (const [claim, change] of [
  ['is another one by then', { startTicks: 4241 }],
  ['takes another user', { uid: 0 }],
  ['takes another group', { gid: 0 }],
  ['takes other supplementary groups', { groups: [0] }],
  ['moves to another container', { cgroup: `0::/docker/${CONTAINER}\n` }],
  ['ends', { state: 'Z' }],
] as const)
  test(`refuses a caller whose process ${claim} while its program is read`, async (t) => {
    const { tree, attest, program } = fixture(t);
    tree.write(7, { exe: program });
    // All of /proc is read before attest() returns; what follows comes between that and the second time.
    const result = attest(peerOf(7));
    tree.write(7, { exe: program, ...change });
    await t.throwsAsync(result, FAILED);
  });

test('refuses a caller whom our user namespace does not map: he may be anybody', async (t) => {
  const { tree, attest, program } = fixture(t, {}, '0 100000 65536\n');
  tree.write(7, { exe: program, uid: NOBODY });
  await t.throwsAsync(attest(peerOf(7, { uid: NOBODY })), FAILED);
  tree.write(7, { exe: program, gid: NOBODY });
  await t.throwsAsync(attest(peerOf(7, { gid: NOBODY })), FAILED);
  tree.write(7, { exe: program });
  await t.notThrowsAsync(attest(peerOf(7)));
});

test('gives up on a caller after its time', async (t) => {
  const { tree, attest, program } = fixture(t, { timeoutMs: 1 });
  truncateSync(program, 300 * 1024 * 1024);
  tree.write(7, { exe: program });
  await t.throwsAsync(attest(peerOf(7)), { code: 'timeout' });
});

let sockets = 0;

/** The agent's end of one real connection. */
async function realPeer(t: ExecutionContext, start: (path: string) => Caller | undefined) {
  const listening = await directory.listen(`${++sockets}.sock`);
  const accepted = listening.accepted();
  const caller = start(listening.path);
  if (caller === undefined) connect(listening.path).unref();
  const socket = await accepted;
  t.teardown(async () => {
    socket.destroy();
    listening.server.close();
    await caller?.kill();
  });
  if (caller !== undefined) t.is(await caller.says(), 'connected');
  return { socket, caller };
}

test('knows this very process', async (t) => {
  const { socket } = await realPeer(t, () => undefined);
  const peer = readPeer(socket);
  t.teardown(() => peer.close());
  t.like(peer, { pid: process.pid, uid: process.geteuid?.(), gid: process.getegid?.() });
  const { selectors } = await attestor.attest(peer);
  for (const selector of [
    `unix:uid:${process.geteuid?.()}`,
    `unix:gid:${process.getegid?.()}`,
    `unix:sha256:${sha256(readFileSync(process.execPath))}`,
  ])
    t.true((selectors as readonly string[]).includes(selector), selector);
});

test('knows another process, of another user where that can be had', async (t) => {
  if (!IS_ROOT) t.log('as the same user: changing the user needs root');
  const uid = IS_ROOT ? NOBODY : (process.getuid?.() ?? -1);
  const gid = IS_ROOT ? NOBODY : (process.getgid?.() ?? -1);
  const { socket, caller } = await realPeer(t, (path) => directory.call(path, IS_ROOT ? NOBODY : undefined));
  const peer = readPeer(socket);
  t.teardown(() => peer.close());
  t.like(peer, { pid: caller?.pid, uid, gid });
  const { selectors, evidence, instance } = await attestor.attest(peer);
  const texts = selectors as readonly string[];
  t.true(texts.includes(`unix:uid:${uid}`));
  t.true(texts.includes(`unix:path:${directory.node}`));
  t.false(IS_ROOT && texts.includes('unix:uid:0'));
  t.is(evidence.pid, caller?.pid);
  t.true(instance.startsWith('container:') || instance.includes(`:${caller?.pid}:`));
});

test('two connections of a process are one instance, and two processes are two', async (t) => {
  const listening = await directory.listen('instances.sock');
  t.teardown(() => listening.server.close());
  const instances: string[] = [];
  for (const start of [0, 1, 2]) {
    const accepted = listening.accepted();
    const caller = start === 2 ? directory.call(listening.path) : undefined;
    if (caller === undefined) connect(listening.path).unref();
    const socket = await accepted;
    const peer = readPeer(socket);
    instances.push((await attestor.attest(peer)).instance);
    peer.close();
    socket.destroy();
    await caller?.kill();
  }
  t.is(instances[0], instances[1]);
  t.is(instances[2] === instances[0], instances[0]?.startsWith('container:') ?? false);
});

test('refuses a caller that ended before it was looked at', async (t) => {
  const { socket, caller } = await realPeer(t, (path) => directory.call(path));
  await caller?.kill();
  await t.throwsAsync(async () => attestor.attest(readPeer(socket)), FAILED);
});

test('refuses a caller that ended after the kernel told of it', async (t) => {
  const { socket, caller } = await realPeer(t, (path) => directory.call(path));
  const peer = readPeer(socket);
  t.teardown(() => peer.close());
  await caller?.kill();
  await t.throwsAsync(attestor.attest(peer), FAILED);
});

test('refuses a caller that connected as root and dropped its rights since', async (t) => {
  if (!IS_ROOT) {
    t.log('skipped: changing the user needs root');
    t.pass();
    return;
  }
  const { socket, caller } = await realPeer(t, (path) => directory.call(path));
  caller?.tell('drop');
  t.is(await caller?.says(), 'dropped');
  const peer = readPeer(socket);
  t.teardown(() => peer.close());
  t.is(peer.uid, 0);
  await t.throwsAsync(attestor.attest(peer), FAILED);
});

test('refuses a caller whose pid another process has by now', async (t) => {
  if (!canChoosePids()) {
    t.log('skipped: choosing a pid needs root, in a container also the right to');
    t.pass();
    return;
  }
  const { socket, peer } = await succeededPeer(t);
  t.true(peer.hasExited());
  await t.throwsAsync(attestor.attest(peer), FAILED);
  // Without a pidfd, as before Linux 6.5, the start time tells.
  await t.throwsAsync(attestor.attest({ ...peer, hasExited: () => false }), FAILED);
  await t.throwsAsync(async () => attestor.attest(readPeer(socket)), FAILED);
});

test('a TCP connection has no peer that the kernel vouches for', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [socket] = await accepted;
  t.throws(() => readPeer(socket), FAILED);
  client.destroy();
  socket.destroy();
  t.throws(() => readPeer(socket), FAILED);
  server.close();
});

/** A peer that has ended, and whose pid another process has by now. */
async function succeededPeer(t: ExecutionContext) {
  for (let tries = 0; tries < 20; tries++) {
    const { socket, caller } = await realPeer(t, (path) => directory.call(path));
    const peer = readPeer(socket);
    t.teardown(() => peer.close());
    t.false(peer.hasExited());
    await caller?.kill();
    const successor = await takePid(peer.pid);
    if (successor === undefined) continue;
    t.teardown(() => successor.kill());
    return { socket, peer };
  }
  throw new Error('no pid could be had a second time');
}

/** Starts a process under a pid that has just become free; undefined if others keep being quicker. */
async function takePid(pid: number) {
  for (let tries = 0; tries < 25; tries++) {
    // A shell, because it forks right after it has written.
    const shell = spawn('sh', ['-c', `echo ${pid - 1} > ${LAST_PID}; sleep 60 & echo $!`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [answer] = await once(shell.stdout, 'data');
    const child = Number(answer);
    const kill = (): boolean => process.kill(child, 'SIGKILL');
    if (child === pid) return { kill };
    kill();
  }
  return undefined;
}

function canChoosePids(): boolean {
  try {
    writeFileSync(LAST_PID, readFileSync(LAST_PID));
    return true;
  } catch {
    return false;
  }
}
