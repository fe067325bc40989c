import { readFileSync } from 'node:fs';
import test from 'ava';
import { bootMs } from '../../src/attestation/peer-credentials.ts';
import { readBootId, readProcess, readUnmappedId, TICKS_PER_SECOND } from '../../src/attestation/process.ts';
import { BOOT_ID, ProcTree } from './proc-tree.ts';

const tree = new ProcTree();
test.after.always(() => tree.remove());

test('reads the start time, the effective user and group, the groups in order and the cgroups', (t) => {
  tree.write(10, { groups: [27, 5, 27, 1000] });
  t.deepEqual(readProcess(tree.root, 10), {
    pid: 10,
    startTicks: 4242,
    name: 'web',
    uid: 1000,
    gid: 1000,
    supplementaryGids: [5, 27, 1000],
    container: null,
    cgroups: ['0::/system.slice/web.service'],
  });
});

test('a process without supplementary groups has none', (t) => {
  tree.write(11, { groups: [] });
  t.deepEqual(readProcess(tree.root, 11).supplementaryGids, []);
});

let pid = 100;
for (const [name, shown] of [
  ['a b', 'a b'],
  ['a) S 1 1', 'a) S 1 1'],
  [') R 1 1 1 1 1 1 ', ') R 1 1 1 1 1 1 '],
  ['((((', '(((('],
  ['', ''],
  ['a\nb', 'a\\u{a}b'],
  [Buffer.from([0x29, 0xff, 0x20]), ')\\xff '],
] as const)
  test(`reads the start time behind the name ${JSON.stringify(name.toString('latin1'))} (proc_pid_stat(5))`, (t) => {
    const own = pid++;
    tree.write(own, { name });
    const { startTicks, name: seen } = readProcess(tree.root, own);
    t.is(startTicks, 4242);
    t.is(seen, shown);
  });

for (const state of ['Z', 'X'])
  test(`a process in the state ${state} has ended`, (t) => {
    const own = pid++;
    tree.write(own, { state });
    t.throws(() => readProcess(tree.root, own), { code: 'attestation_failed' });
  });

for (const [file, contents] of [
  ['stat', ''],
  ['stat', '12 (web S 1 2 3'],
  ['stat', '12 (web) S 1 2 3'],
  ['status', 'Name:\tweb\n'],
  ['status', 'Uid:\t0\nGid:\t0\t0\nGroups:\t\n'],
  ['status', 'Uid:\t0\tx\t0\t0\nGid:\t0\t0\nGroups:\t\n'],
] as const)
  test(`refuses ${file} that reads ${JSON.stringify(contents)}`, (t) => {
    const own = pid++;
    tree.write(own);
    tree.writeFile(own, file, contents);
    t.throws(() => readProcess(tree.root, own), { code: 'attestation_failed' });
  });

test('a process that is not there fails', (t) => {
  t.throws(() => readProcess(tree.root, 99), { code: 'attestation_failed' });
});

test('the container is found by the cgroup, and a line break in one is no second line', (t) => {
  const id = 'ab'.repeat(32);
  tree.write(12, { cgroup: `0::/docker/${id}\n` });
  t.is(readProcess(tree.root, 12).container?.id, id);
});

test('reads what this kernel says of this very process', (t) => {
  const facts = readProcess('/proc', process.pid);
  t.like(facts, { uid: process.geteuid?.(), gid: process.getegid?.() });
  const groups = new Set(process.getgroups?.());
  t.deepEqual(
    facts.supplementaryGids.filter((gid) => !groups.has(gid)),
    [],
  );
  const age = bootMs() - (facts.startTicks * 1000) / TICKS_PER_SECOND;
  t.true(Math.abs(age / 1000 - process.uptime()) < 5, `${age} ms`);
  t.is(readBootId('/proc'), readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
});

test('reads the boot ID', (t) => {
  t.is(readBootId(tree.root), BOOT_ID);
});

for (const [map, unmapped] of [
  ['         0          0 4294967295\n', null],
  ['         0     100000      65536\n', 65534],
  ['         0          0       1000\n      2000       2000 4294965295\n', 65534],
] as const)
  test(`with the map ${JSON.stringify(map)} strangers appear as ${unmapped} (user_namespaces(7))`, (t) => {
    const partial = new ProcTree(map);
    t.teardown(() => partial.remove());
    t.is(readUnmappedId(partial.root), unmapped);
  });
