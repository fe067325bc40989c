import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import { createHasEnded } from '../../src/attestation/has-ended.ts';
import { readBootId, readProcess } from '../../src/attestation/process.ts';
import { BOOT_ID, type ProcFiles, ProcTree } from './proc-tree.ts';

const ID = 'a1b2c3d4'.repeat(8);
const ROWS: [what: string, instance: string, files: Partial<ProcFiles> | null, expected: boolean][] = [
  ['a process that runs', `process:${BOOT_ID}:7:4242`, {}, false],
  ['one whose name ends like a field', `process:${BOOT_ID}:7:4242`, { name: 'x) Z 1 (' }, false],
  ['nobody by this number', `process:${BOOT_ID}:7:4242`, null, true],
  ['another process by this number', `process:${BOOT_ID}:7:4242`, { startTicks: 4243 }, true],
  ['an earlier boot', `process:00000000-0000-0000-0000-000000000000:7:4242`, {}, true],
  ['one that is dead', `process:${BOOT_ID}:7:4242`, { state: 'X' }, true],
  ['a zombie', `process:${BOOT_ID}:7:4242`, { state: 'Z' }, true],
  ['a container of which no process is left', `container:${ID}`, {}, true],
  ['a container with a process', `container:${ID}`, { cgroup: `0::/docker/${ID}\n` }, false],
  ['a pod', 'pod:9f7e6d5c-4b3a-4210-9876-543210fedcba', null, false],
];

for (const [what, instance, files, expected] of ROWS)
  test(`${what}: ${expected ? 'has ended' : 'may run'}`, (t) => {
    const tree = new ProcTree();
    t.teardown(() => tree.remove());
    tree.mounted();
    if (files !== null) tree.write(7, files);
    t.is(createHasEnded(tree.root)(instance), expected);
  });

test('a first thread that waits for others as a zombie may run', (t) => {
  const tree = new ProcTree();
  t.teardown(() => tree.remove());
  const between = Array(22 - 4).fill('0');
  between[20 - 4] = '3';
  tree.write(7);
  tree.writeFile(7, 'stat', `7 (web) Z ${between.join(' ')} 4242 0 0\n`);
  t.false(createHasEnded(tree.root)(`process:${BOOT_ID}:7:4242`));
});

test('a real process has ended once it has', async (t) => {
  const child = spawn('sleep', ['60']);
  await once(child, 'spawn');
  const { startTicks } = readProcess('/proc', child.pid ?? 0);
  const boot = readBootId('/proc');
  const hasEnded = createHasEnded();
  const instance = `process:${boot}:${child.pid}:${startTicks}`;
  t.false(hasEnded(instance));
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.true(hasEnded(instance));
});
