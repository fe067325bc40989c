import test from 'ava';
import fc from 'fast-check';
import { containerOf } from '../../src/attestation/container-id.ts';

const A = 'a1b2c3d4'.repeat(8);
const B = '0f1e2d3c'.repeat(8);
const POD = 'pod8a4f7d9c-2c1b-4c57-9d5e-0123456789ab';
const POD_SLICE = 'kubepods-burstable-pod8a4f7d9c_2c1b_4c57_9d5e_0123456789ab.slice';

for (const [claim, path] of [
  ['Docker with systemd', `/system.slice/docker-${A}.scope`],
  ['Docker with cgroupfs', `/docker/${A}`],
  ['Docker below a slice of its own', `/apps.slice/docker-${A}.scope`],
  ['what systemd runs inside of a container', `/system.slice/docker-${A}.scope/init.scope`],
  [
    'containerd under kubelet with systemd',
    `/kubepods.slice/kubepods-burstable.slice/${POD_SLICE}/cri-containerd-${A}.scope`,
  ],
  ['containerd under kubelet with cgroupfs', `/kubepods/burstable/${POD}/${A}`],
  ['a guaranteed pod', `/kubepods/${POD}/${A}`],
  ['a static pod', `/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/${A}`],
  [
    'kubelet and containerd with different drivers',
    `/system.slice/containerd.service/${POD_SLICE}:cri-containerd:${A}`,
  ],
  ['CRI-O', `/kubepods.slice/kubepods-besteffort.slice/${POD_SLICE}/crio-${A}.scope`],
  ['CRI-O with a cgroup for the payload', `/kubepods.slice/${POD_SLICE}/crio-${A}.scope/container`],
  ['Podman', `/machine.slice/libpod-${A}.scope/container`],
  ['Podman with cgroupfs', `/libpod_parent/libpod-${A}`],
  ['nerdctl', `/system.slice/nerdctl-${A}.scope`],
  ['ECS', `/ecs/0123456789abcdef0123456789abcdef/${A}`],
  ['a bare ID', `/${A}`],
  ['a neighbour, seen from inside of a cgroup namespace', `/../cri-containerd-${A}.scope`],
  ['a neighbour further away', `/../../${POD_SLICE}/cri-containerd-${A}.scope`],
] as const)
  test(`finds the container of ${claim}, v2 and v1`, (t) => {
    t.is(containerOf([`0::${path}`])?.id, A);
    t.is(containerOf(['13:misc:/', `12:cpu,cpuacct:${path}`, `1:name=systemd:${path}`, '0::/'])?.id, A);
  });

const UID = '8a4f7d9c-2c1b-4c57-9d5e-0123456789ab';
const HASH = '0123456789abcdef0123456789abcdef';

for (const [claim, path, podUid] of [
  [
    'containerd with systemd, a burstable pod',
    `/kubepods.slice/kubepods-burstable.slice/${POD_SLICE}/cri-containerd-${A}.scope`,
    UID,
  ],
  [
    'CRI-O, a best-effort pod, a cgroup for its payload',
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UID.replaceAll('-', '_')}.slice/crio-${A}.scope/container`,
    UID,
  ],
  [
    'a guaranteed pod with systemd',
    `/kubepods.slice/kubepods-pod${UID.replaceAll('-', '_')}.slice/cri-containerd-${A}.scope`,
    UID,
  ],
  ['containerd with cgroupfs', `/kubepods/burstable/${POD}/${A}`, UID],
  ['a guaranteed pod with cgroupfs', `/kubepods/${POD}/${A}`, UID],
  [
    'cri-dockerd with systemd',
    `/kubepods.slice/kubepods-burstable.slice/${POD_SLICE}/docker-${A}.scope`,
    UID,
  ],
  ['cri-dockerd with cgroupfs', `/kubepods/besteffort/${POD}/${A}`, UID],
  [
    'a static pod, whose UID is the hash of its manifest',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${HASH}.slice/cri-containerd-${A}.scope`,
    HASH,
  ],
  [
    'kubelet and containerd with different drivers',
    `/system.slice/containerd.service/${POD_SLICE}:cri-containerd:${A}`,
    UID,
  ],
  [
    'a kubelet below a root of its own, as kind has it',
    `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${UID.replaceAll('-', '_')}.slice/cri-containerd-${A}.scope`,
    UID,
  ],
  ['the same with cgroupfs', `/kubelet/kubepods/besteffort/${POD}/${A}`, UID],
  [
    'another pod, from an agent in a cgroup namespace of its own',
    `/../../../kubepods-burstable.slice/${POD_SLICE}/cri-containerd-${A}.scope`,
    UID,
  ],
  ["a neighbour in the agent's own pod", `/../cri-containerd-${A}.scope`, null],
  ['Docker without Kubernetes', `/system.slice/docker-${A}.scope`, null],
  ['a cgroup of ECS, whose parent has 32 digits', `/ecs/${HASH}/${A}`, null],
  ['a pod below the container', `/docker/${A}/kubepods/${POD}/${B}`, null],
  ['a name that ends like a pod', `/kubepods/tripod${UID}.slice/${A}`, null],
] as const)
  test(`finds the pod of ${claim}, v2 and v1`, (t) => {
    t.deepEqual(containerOf([`0::${path}`]), { id: A, podUid });
    t.deepEqual(containerOf([`12:pids:${path}`, `1:name=systemd:${path}`, '0::/']), { id: A, podUid });
  });

for (const [claim, path] of [
  ['the root', '/'],
  ['a login session', '/user.slice/user-1000.slice/session-3.scope'],
  ['a service', '/system.slice/nginx.service'],
  ['a slice', '/system.slice'],
  ["CRI-O's monitor", `/kubepods.slice/${POD_SLICE}/crio-conmon-${A}.scope`],
  ["Podman's monitor", `/machine.slice/libpod-conmon-${A}.scope`],
  ['63 digits', `/docker/${A.slice(1)}`],
  ['65 digits', `/docker/${A}0`],
  ['upper-case digits', `/docker/${A.toUpperCase()}`],
  ['an ID with something before it', `/docker/x${A}`],
  ['an ID with something after it', `/system.slice/docker-${A}.scope2`],
  ['an unknown kind of unit', `/system.slice/web-${A}.scope`],
  ['a removed cgroup', `/docker/${A} (deleted)`],
] as const)
  test(`finds no container in ${claim}`, (t) => {
    t.is(containerOf([`0::${path}`]), null);
  });

for (const [claim, path] of [
  ["a user's session", `/user.slice/user-1000.slice/user@1000.service/app.slice/docker-${A}.scope`],
  ["a user's own systemd, to its root", `/user.slice/user-1000.slice/user@1000.service/docker-${A}.scope`],
  [
    'a rootless Podman',
    `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${A}.scope/container`,
  ],
  ["the users' slice", `/user.slice/docker-${A}.scope`],
  ["a user's slice, seen from a cgroup namespace", `/../../user.slice/user-1000.slice/docker-${A}.scope`],
  ['a service that may have a subtree of its own', `/system.slice/ci.service/docker-${A}.scope`],
  ['a group that somebody was given', `/students/docker-${A}.scope`],
  ['a name that only looks like a slice', `/students/x.slice/docker-${A}.scope`],
  ['a group that is named like a parent, below a stranger', `/students/docker/${A}`],
  ['parents that begin with dots', `/docker/../${A}`],
] as const)
  test(`is not misled by a cgroup that is named after a container in ${claim}`, (t) => {
    t.is(containerOf([`0::${path}`]), null);
  });

test('a cgroup made inside of a container is the container, whatever its name', (t) => {
  t.is(containerOf([`0::/system.slice/docker-${A}.scope/docker-${B}.scope`])?.id, A);
  t.is(containerOf([`0::/docker/${A}/docker/${B}`])?.id, A);
  t.is(containerOf([`0::/kubepods/burstable/${POD}/${A}/kubepods/${POD}/${B}`])?.id, A);
});

test('hierarchies that name different containers name none', (t) => {
  t.is(containerOf([`2:cpu:/docker/${A}`, `1:name=systemd:/docker/${B}`]), null);
});

test('hierarchies that name different pods of one container name none, and one without a pod does not contradict', (t) => {
  const other = `pod${UID.replace('8', '9')}`;
  t.is(containerOf([`2:cpu:/kubepods/${POD}/${A}`, `1:name=systemd:/kubepods/${other}/${A}`]), null);
  t.deepEqual(containerOf([`2:cpu:/kubepods/${POD}/${A}`, `1:name=systemd:/${A}`]), { id: A, podUid: UID });
});

test('a path with colons is one path, and a line without a path has no container (cgroups(7))', (t) => {
  t.is(containerOf([`0::/docker/x:/docker/${A}`]), null);
  t.is(containerOf(['', '0', '0:', '0::', '0::docker']), null);
});

test('below a user or a service nothing is a container, whatever it is called', (t) => {
  const name = fc.constantFrom(
    'docker',
    'kubepods',
    POD,
    POD_SLICE,
    A,
    `crio-${A}.scope`,
    'a.slice',
    'x',
    '..',
    '',
  );
  const path = fc.tuple(
    fc.constantFrom('', '/..', '/../..', '/system.slice'),
    fc.constantFrom('user.slice', 'user-1000.slice', 'ci.service', 'session-3.scope'),
    fc.array(name, { maxLength: 8 }),
  );
  fc.assert(
    fc.property(path, ([outside, delegated, inside]) => {
      const line = `0::${outside}/${delegated}/${inside.join('/')}`;
      return containerOf([line]) === null;
    }),
  );
  t.pass();
});
