import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MACHINE_EXTENSIONS, MachineCa } from '../attestation/machine-ca.ts';
import { Issuer } from '../attestation/node/issuer.ts';
import { type AgentProcess, launchAgent } from '../support/agent.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

const UID = process.getuid?.() ?? 0;
const ca = new MachineCa();
test.after.always(() => ca.remove());

interface AgentItem {
  readonly node: string;
  readonly method: string;
  readonly selectors: readonly string[];
}

/** A server that lets nodes in as `attestation` (YAML) says, and its trust bundle in a file. */
async function startServer(attestation: string) {
  const port = await freePort();
  const file = ca.write(attestation);
  const server = await startCarnet([
    '--no-agent',
    '--grpc-addr',
    `127.0.0.1:${port}`,
    '--node-attestation',
    file,
  ]);
  const trustBundle = join(server.dataDir, 'bundle.pem');
  writeFileSync(trustBundle, await (await fetch(`${server.url}/v1/bundle.pem`)).text());
  return { server, servers: `127.0.0.1:${port}`, bundle: ['--trust-bundle', trustBundle] };
}

async function startIssuer(t: ExecutionContext) {
  const issuer = new Issuer();
  t.teardown(() => issuer.server.close());
  return issuer.start();
}

async function grant(server: CarnetProcess, path: string, ...selectors: string[]): Promise<void> {
  await server.call('POST', '/v1/entries', { spiffe_id: path, selectors: [`unix:uid:${UID}`, ...selectors] });
}

async function agentsOf(server: CarnetProcess): Promise<readonly AgentItem[]> {
  return ((await server.call('GET', '/v1/agents')) as { items: AgentItem[] }).items;
}

/** Our own, of an agent that serves. */
async function identityOf(agent: AgentProcess): Promise<string> {
  const { code, stdout, stderr } = await agent.fetch(undefined, '--timeout', '60');
  if (code !== 0) throw new Error(`carnet fetch: ${stderr}\n${agent.log()}`);
  return (JSON.parse(stdout) as { spiffe_id: string }).spiffe_id;
}

test.serial(
  "a machine joins by its owner's certificate, and its workloads get what entries say of such machines",
  async (t) => {
    t.timeout(120_000);
    const root = ca.root('/CN=machines');
    const web1 = ca.issue(root, {
      subject: '/CN=web1.example.org',
      extensions: MACHINE_EXTENSIONS,
      key: 'rsa',
    });
    const { server, servers, bundle } = await startServer(`x509pop: { ca_file: ${root.certificateFile} }`);
    await using _ = server;
    await grant(server, '/web', 'node:x509pop:san-dns:web1');
    const files = ['--x509pop-cert-file', web1.certificateFile, '--x509pop-key-file', web1.keyFile];
    await using agent = await launchAgent({
      servers,
      args: ['--attest-method', 'x509pop', ...files, ...bundle],
    });
    await agent.ready();
    t.is(await identityOf(agent), 'spiffe://carnet.local/web');
    t.like((await agentsOf(server))[0], { node: 'web1.example.org', method: 'x509pop' });

    const stranger = ca.issue(ca.root('/CN=machines'), {
      subject: '/CN=web2',
      extensions: MACHINE_EXTENSIONS,
    });
    const others = ['--x509pop-cert-file', stranger.certificateFile, '--x509pop-key-file', stranger.keyFile];
    await using refused = await launchAgent({
      servers,
      args: ['--attest-method', 'x509pop', ...others, ...bundle],
    });
    t.is(await refused.ended(), 1);
    t.regex(refused.log(), /none of the 1 trusted CAs issued certificate 1/);
  },
);

test.serial(
  'a token joins its node; one for others, an expired one and a used one are refused by name, and counted',
  async (t) => {
    t.timeout(180_000);
    const issuer = await startIssuer(t);
    const cluster = await startIssuer(t);
    const { server, servers, bundle } = await startServer(`
oidc:
  - name: ci
    name_prefix: ci-
    issuer: ${issuer.url}
    audience: carnet
    node_name: runner
    required: { owner: example }
    selectors: { owner: owner }
k8s_psat:
  - name: production
    name_prefix: k8s-
    issuer: ${cluster.url}
    jwks_url: ${cluster.url}/keys
    service_accounts: [carnet/agent]
`);
    await using _ = server;
    const now = Math.floor(Date.now() / 1000);
    const claims = { jti: 'one', owner: 'example', runner: 'r1' };
    const account = {
      sub: 'system:serviceaccount:carnet:agent',
      'kubernetes.io': {
        namespace: 'carnet',
        serviceaccount: { name: 'agent', uid: 'a' },
        pod: { name: 'agent-1', uid: 'b' },
        node: { name: 'node-1', uid: 'c' },
      },
    };
    const launch = (method: 'oidc' | 'k8s_psat', token: string) => {
      const file = method === 'oidc' ? '--oidc-token-file' : '--service-account-token-file';
      return launchAgent({ servers, args: ['--attest-method', method, file, ca.write(token), ...bundle] });
    };
    await grant(server, '/ci', 'node:oidc:owner:example');
    const good = await issuer.sign(claims);
    await using runner = await launch('oidc', good);
    await using pod = await launch('k8s_psat', await cluster.sign(account));
    await Promise.all([runner.ready(), pod.ready()]);
    t.is(await identityOf(runner), 'spiffe://carnet.local/ci');
    const foreign = await pod.fetch(undefined, '--identity', 'spiffe://carnet.local/ci');
    t.is(foreign.code, 1, "another node's");
    t.deepEqual((await agentsOf(server)).map(({ node }) => node).sort(), ['ci-r1', 'k8s-node-1']);

    for (const [method, token, code] of [
      ['oidc', good, 'node_token_used'],
      ['oidc', await issuer.sign({ ...claims, jti: 'two', aud: 'vault' }), 'node_token_audience'],
      ['k8s_psat', await cluster.sign({ ...account, aud: 'https://kubernetes' }), 'node_token_audience'],
      ['k8s_psat', await cluster.sign({ ...account, iat: now - 900, exp: now - 300 }), 'node_token_expired'],
    ] as const) {
      await using refused = await launch(method, token);
      await until(`the agent is told ${code}`, () => refused.log().includes(code));
      t.notRegex(refused.log(), /agent is ready/);
      t.notRegex(refused.log() + server.log(), new RegExp(token.split('.')[2] ?? token), 'no token in a log');
    }
    t.is((await agentsOf(server)).length, 2);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    for (const code of ['node_token_used', 'node_token_audience', 'node_token_expired'])
      t.regex(metrics, new RegExp(`agent_refusals\\w*\\{code="${code}"\\} [1-9]`));
  },
);

test.serial('a server that is given a file which it cannot use does not start, and says why', async (t) => {
  const file = ca.write('x509pop: { ca_file: /nowhere/ca.pem }');
  const error = await t.throwsAsync(startCarnet(['--no-agent', '--node-attestation', file]));
  t.regex(error?.message ?? '', /ended with 2:.*\/nowhere\/ca\.pem can't be read/s);
  rmSync(file);
});
