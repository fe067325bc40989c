import { readFileSync } from 'node:fs';
import test from 'ava';
import { SYSTEMD_ATTESTOR, unitOf } from '../../src/attestation/systemd.ts';

const A = 'a1b2c3d4'.repeat(8);

for (const [claim, path, unit] of [
  ['a service', '/system.slice/nginx.service', 'nginx.service'],
  ['an instance of a template', '/system.slice/system-getty.slice/getty@tty1.service', 'getty@tty1.service'],
  ['a service in a slice of its own', '/apps.slice/apps-web.slice/web.service', 'web.service'],
  ['a service with a subtree of its own', '/system.slice/docker.service/init', 'docker.service'],
  ['systemd itself', '/init.scope', 'init.scope'],
  ['a login', '/user.slice/user-1000.slice/session-3.scope', 'session-3.scope'],
  [
    "what a user's own systemd runs, under a name that he chose",
    '/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service',
    'user@1000.service',
  ],
  ['the root', '/', null],
  ['a slice', '/system.slice', null],
  ['a cgroup that no unit has', '/students/nginx.service', null],
  ['a removed unit', '/system.slice/nginx.service (deleted)', null],
  ['a cgroup namespace, which hides where the path begins', '/../nginx.service', null],
] as const)
  test(`finds ${unit ?? 'no unit'} in ${claim}, v2 and v1`, (t) => {
    t.is(unitOf([`0::${path}`]), unit);
    t.is(unitOf(['12:pids:/system.slice/other.service', `1:name=systemd:${path}`, '0::/']), unit);
  });

test('a container is not named by its scope', async (t) => {
  const facts = {
    pid: 7,
    startTicks: 1,
    name: 'web',
    uid: 0,
    gid: 0,
    supplementaryGids: [],
    cgroups: [`0::/system.slice/docker-${A}.scope`],
  };
  t.is(await SYSTEMD_ATTESTOR.attest({ ...facts, container: { id: A, podUid: null } }), null);
  t.deepEqual(
    await SYSTEMD_ATTESTOR.attest({ ...facts, cgroups: ['0::/a.slice/b.service'], container: null }),
    {
      selectors: ['systemd:unit:b.service'] as never,
      evidence: { unit: 'b.service' },
    },
  );
});

test('reads what this kernel says of this very process', (t) => {
  t.notThrows(() => unitOf(readFileSync('/proc/self/cgroup', 'latin1').split('\n').filter(Boolean)));
});
