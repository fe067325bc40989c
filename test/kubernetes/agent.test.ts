import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { parseAllDocuments } from 'yaml';
import { spawnCarnet } from '../support/carnet.ts';
import { freePort } from '../support/free-port.ts';
import { clusterMissing } from '../support/kubernetes.ts';
import { until } from '../support/until.ts';
import { MANIFESTS, startWorld } from './world.ts';

const missing = clusterMissing();
const test = (missing === null ? anyTest : anyTest.skip) as TestFn;
if (missing !== null) anyTest(`left out: ${missing}`, (t) => t.pass());

/** The file of `--node-attestation` in the manifests, of a server that is in no pod. */
function nodeAttestation(kubeconfig: string): string {
  const text = readFileSync(join(MANIFESTS, 'base/server-config.yaml'), 'utf8');
  const maps = parseAllDocuments(text).map((document) => document.toJS() as { data: Record<string, string> });
  const file = maps.find(({ data }) => 'node-attestation.yaml' in data)?.data['node-attestation.yaml'] ?? '';
  return file.replace('token_review: in-cluster', `token_review: ${kubeconfig}`);
}

test('an agent of the manifests is let in as its node, by its token and the bundle in its namespace', async (t) => {
  const world = await startWorld();
  const directory = await mkdtemp(join(tmpdir(), 'carnet-node-'));
  t.teardown(async () => {
    await world.close();
    await rm(directory, { recursive: true });
  });
  const { kubectl, apply } = world.cluster;
  await apply({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'carnet-agent', namespace: 'carnet' },
  });
  await world.makePod({ namespace: 'carnet', name: 'carnet-agent-x', serviceAccount: 'carnet-agent' });
  await kubectl('apply', '--server-side', '-f', join(MANIFESTS, 'base/namespace.yaml'));
  const sources = join(directory, 'node-attestation.yaml');
  writeFileSync(sources, nodeAttestation(world.serverKubeconfig));
  const port = await freePort();
  await world.start(
    ...['--grpc-addr', `127.0.0.1:${port}`, '--node-attestation', sources],
    ...['--kubernetes-bundle-namespaces', 'carnet/trust-bundle=enabled'],
  );
  const map = await until('the bundle is there', () =>
    world.find('configmap', 'carnet-trust-bundle', 'carnet'),
  );
  const bundle = join(directory, 'bundle.pem');
  writeFileSync(bundle, map.data?.['bundle.pem'] ?? '');
  const token = join(directory, 'token');
  const bound = [
    '--bound-object-kind',
    'Pod',
    '--bound-object-name',
    'carnet-agent-x',
    '--audience',
    'carnet',
  ];
  writeFileSync(token, await kubectl('create', 'token', 'carnet-agent', '-n', 'carnet', ...bound), {
    mode: 0o600,
  });
  const agent = spawnCarnet([
    ...['agent', '--server-addr', `127.0.0.1:${port}`, '--attest-method', 'k8s_psat'],
    ...['--service-account-token-file', token, '--trust-bundle', bundle],
    ...['--data-dir', join(directory, 'agent')],
  ]);
  t.teardown(() => agent.kill('SIGKILL'));
  let output = '';
  for (const stream of [agent.stdout, agent.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const isUp = (): boolean => output.includes('agent is ready') || agent.exitCode !== null;
  await until('the agent is ready', isUp).catch((error: unknown) => t.log(error, output));
  t.regex(output, /node +n1\n/);
});
