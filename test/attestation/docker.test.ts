import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createDockerAttestor } from '../../src/attestation/docker.ts';
import type { ProcessFacts } from '../../src/attestation/process.ts';
import { StandIn } from './http-stand-in.ts';
import { containerId } from './pods.ts';

const FACTS: ProcessFacts = {
  pid: 7,
  startTicks: 1,
  name: 'web',
  uid: 0,
  gid: 0,
  supplementaryGids: [],
  container: { id: containerId(1), podUid: null },
  cgroups: [],
};
/** As Docker Engine 28 inspects a container: the fields that matter, among some that don't. */
const INSPECTED = {
  Id: containerId(1),
  Name: '/web',
  Image: `sha256:${'12'.repeat(32)}`,
  Config: {
    Image: 'nginx:1.29',
    Env: ['SECRET=hunter2'],
    Labels: { 'com.example.tier': 'front', maintainer: 'ada' },
  },
};

/** There is no Docker here: a real HTTP server on a Unix socket answers in its place. */
async function startDocker(t: ExecutionContext) {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-docker-'));
  const docker = new StandIn(null);
  t.teardown(async () => {
    await docker.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const socketPath = join(directory, 'docker.sock');
  await docker.listenOn(socketPath);
  return { docker, attestor: createDockerAttestor(socketPath) };
}

test('a container is its image and labels, by names that SPIRE has, and its environment is not told', async (t) => {
  const { docker, attestor } = await startDocker(t);
  docker.answers(INSPECTED);
  const found = await attestor.attest(FACTS);
  t.deepEqual(found?.selectors as readonly string[], [
    `docker:image_config_digest:sha256:${'12'.repeat(32)}`,
    'docker:image_id:nginx:1.29',
    'docker:label:com.example.tier:front',
    'docker:label:maintainer:ada',
  ]);
  t.notRegex(JSON.stringify(found), /hunter2|SECRET/);
  t.deepEqual(docker.asked, [`GET /containers/${containerId(1)}/json -`]);
});

test('a container is asked for once: its labels and image stay for its life', async (t) => {
  const { docker, attestor } = await startDocker(t);
  docker.answers(INSPECTED);
  const first = await attestor.attest(FACTS);
  await docker.close();
  t.deepEqual(await attestor.attest(FACTS), first);
});

test("a container of another runtime is not Docker's, and a process in none is not asked for", async (t) => {
  const { docker, attestor } = await startDocker(t);
  docker.answers({ message: 'No such container' }, 404);
  t.is(await attestor.attest(FACTS), null);
  t.is(await attestor.attest({ ...FACTS, container: null }), null);
  t.is(docker.asked.length, 1);
});

for (const [claim, status, json, code] of [
  ['fails', 500, { message: 'oops' }, 'unavailable'],
  ['answers something else', 200, { Id: containerId(1) }, 'unavailable'],
  ['tells of another container', 200, { ...INSPECTED, Id: containerId(2) }, 'attestation_failed'],
] as const)
  test(`a Docker that ${claim} gives no selectors: ${code}`, async (t) => {
    const { docker, attestor } = await startDocker(t);
    docker.answers(json, status);
    await t.throwsAsync(attestor.attest(FACTS), { code });
  });

test('a Docker that is not there is an error that names its socket', async (t) => {
  await t.throwsAsync(createDockerAttestor('/nowhere/docker.sock').attest(FACTS), {
    code: 'unavailable',
    message: /\/nowhere\/docker\.sock/,
  });
});
