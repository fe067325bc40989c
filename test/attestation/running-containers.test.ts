import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { RunningContainers } from '../../src/attestation/running-containers.ts';
import { writableHierarchies } from '../support/cgroups.ts';
import { until } from '../support/until.ts';
import { type ProcFiles, ProcTree } from './proc-tree.ts';

const A = 'a1b2c3d4'.repeat(8);
const B = '0f1e2d3c'.repeat(8);

function treeOf(t: ExecutionContext, ...mounted: Parameters<ProcTree['mounted']>): ProcTree {
  const tree = new ProcTree();
  t.teardown(() => tree.remove());
  tree.mounted(...mounted);
  tree.write(1, { cgroup: '0::/init.scope\n' });
  return tree;
}

const ROWS: [what: string, process: Partial<ProcFiles> | null, ended: boolean][] = [
  ['without any process', null, true],
  ['of which only others have processes', { cgroup: `0::/docker/${B}\n` }, true],
  ['with a process', { cgroup: `0::/system.slice/docker-${A}.scope\n` }, false],
  ['with a process below it', { cgroup: `0::/system.slice/docker-${A}.scope/init.scope\n` }, false],
  ['seen from another cgroup namespace', { cgroup: `0::/../../pod1/cri-containerd-${A}.scope\n` }, false],
  ['of cgroup v1', { cgroup: `5:freezer:/\n4:memory:/kubepods/pod1/${A}\n0::/\n` }, false],
  ['within another one', { cgroup: `0::/docker/${B}/docker/${A}\n` }, false],
  ['by the word of a stranger', { cgroup: `0::/user.slice/${A}\n` }, false],
  ['whose ID is a part of something longer', { cgroup: `0::/docker/${A}0\n` }, true],
];

for (const [what, process, ended] of ROWS)
  test(`a container ${what} ${ended ? 'has ended' : 'may run'}`, (t) => {
    const tree = treeOf(t);
    if (process !== null) tree.write(7, process);
    t.is(new RunningContainers(tree.root).hasEnded(A), ended);
  });

for (const [where, namespace, options] of [
  ['in a PID namespace of its own', 'pid:[4026532281]', 'rw,relatime'],
  ['that procfs hides others from', undefined, 'rw,hidepid=invisible'],
  ['that procfs hides others from, as older kernels say it', undefined, 'rw,hidepid=2,gid=4'],
] as const)
  test(`of no container an agent ${where} says that it has ended`, (t) => {
    t.false(new RunningContainers(treeOf(t, namespace, options).root).hasEnded(A));
  });

test('nor one that may not read of which cgroup a process is, or whose procfs says nothing of itself', (t) => {
  const tree = treeOf(t);
  // A directory can't be read either, whoever asks.
  mkdirSync(join(tree.root, '9/cgroup'), { recursive: true });
  t.false(new RunningContainers(tree.root).hasEnded(A));
  const silent = new ProcTree();
  t.teardown(() => silent.remove());
  t.false(new RunningContainers(silent.root).hasEnded(A));
});

test('many are answered by one look at all processes, and the next comes a second later', async (t) => {
  const tree = treeOf(t, undefined, 'rw,hidepid=off');
  tree.write(7, { cgroup: `0::/docker/${A}\n` });
  tree.write(8, { cgroup: `0::/docker/${B}\n` });
  let now = 0;
  const running = new RunningContainers(tree.root, () => now);
  t.false(running.hasEnded(A));
  t.false(running.hasEnded(B));
  tree.end(7);
  t.false(running.hasEnded(A), 'in the same turn it has just been seen');
  await turn();
  now = 999;
  t.false(running.hasEnded(A));
  now = 1000;
  t.true(running.hasEnded(A));
  t.false(running.hasEnded(B));
  tree.write(9, { cgroup: `0::/docker/${A}\n` });
  await turn();
  now = 2000;
  t.false(running.hasEnded(A), 'it was started again');
});

test('a container that runs costs a look at one process of its own', async (t) => {
  const tree = treeOf(t);
  tree.write(7, { cgroup: `0::/docker/${A}\n` });
  let now = 0;
  const running = new RunningContainers(tree.root, () => now);
  t.false(running.hasEnded(A));
  await turn();
  now = 10_000;
  // With this one a look at all tells nothing; it is not asked.
  mkdirSync(join(tree.root, '9/cgroup'), { recursive: true });
  t.false(running.hasEnded(A));
  tree.end(9);
  tree.end(7);
  t.true(running.hasEnded(A), 'there was no look at all processes that this would have to wait for');
});

test('a real container ends with its processes, while its cgroup is still there', async (t) => {
  const hierarchies = writableHierarchies();
  if (hierarchies.length === 0) t.log('no cgroup can be made here: fixtures alone say so');
  for (const hierarchy of hierarchies) {
    const id = `${process.pid.toString(16)}`.padStart(64, 'c');
    const cgroup = join(hierarchy, `docker-${id}.scope`);
    mkdirSync(cgroup);
    t.teardown(() => rmdirSync(cgroup));
    const child = spawn('sleep', ['600']);
    t.teardown(() => child.kill('SIGKILL'));
    await once(child, 'spawn');
    writeFileSync(join(cgroup, 'cgroup.procs'), String(child.pid));
    t.false(new RunningContainers('/proc').hasEnded(id));
    child.kill('SIGKILL');
    await once(child, 'exit');
    t.true(new RunningContainers('/proc').hasEnded(id), hierarchy);
    await until('the cgroup is free', () => readFileSync(join(cgroup, 'cgroup.procs'), 'utf8') === '');
  }
  t.pass();
});
