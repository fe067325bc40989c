import test from 'ava';
import { containerIdOf } from '../../src/attestation/container-id.ts';

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
    t.is(containerIdOf([`0::${path}`]), A);
    t.is(containerIdOf(['13:misc:/', `12:cpu,cpuacct:${path}`, `1:name=systemd:${path}`, '0::/']), A);
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
    t.is(containerIdOf([`0::${path}`]), null);
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
    t.is(containerIdOf([`0::${path}`]), null);
  });

test('a cgroup made inside of a container is the container, whatever its name', (t) => {
  t.is(containerIdOf([`0::/system.slice/docker-${A}.scope/docker-${B}.scope`]), A);
  t.is(containerIdOf([`0::/docker/${A}/docker/${B}`]), A);
  t.is(containerIdOf([`0::/kubepods/burstable/${POD}/${A}/kubepods/${POD}/${B}`]), A);
});

test('hierarchies that name different containers name none', (t) => {
  t.is(containerIdOf([`2:cpu:/docker/${A}`, `1:name=systemd:/docker/${B}`]), null);
});

test('a path with colons is one path, and a line without a path has no container (cgroups(7))', (t) => {
  t.is(containerIdOf([`0::/docker/x:/docker/${A}`]), null);
  t.is(containerIdOf(['', '0', '0:', '0::', '0::docker']), null);
});
