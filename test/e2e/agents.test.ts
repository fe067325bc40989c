import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { encodePem } from '../../src/x509/pem.ts';
import { createAuthority } from '../sds/certificates.ts';
import { type AgentProcess, joinTokenFor, launchAgent } from '../support/agent.ts';
import { startCarnet, type User } from '../support/carnet.ts';
import { checkoutFor } from '../support/checkout.ts';
import { freePort } from '../support/free-port.ts';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { metric } from '../support/metrics.ts';
import { startPair } from '../support/pair.ts';
import { until } from '../support/until.ts';
import { Watcher } from '../support/watcher.ts';

const WEB = 'spiffe://carnet.local/web';
/** Users that need not exist: whoever isn't root has none but himself. */
const asRoot = process.getuid?.() === 0;
const userOf = (id: number): User | undefined => (asRoot ? { uid: id, gid: id } : undefined);
const UID = process.getuid?.() ?? 0;

async function startServer(...args: string[]) {
  const port = await freePort();
  const server = await startCarnet(['--no-agent', '--grpc-addr', `127.0.0.1:${port}`, ...args]);
  return { server, servers: `127.0.0.1:${port}` };
}

test.serial(
  "a server and three agents, each of a user of its own: a workload gets its own node's identities alone, and only as itself",
  async (t) => {
    t.timeout(240_000);
    const { server, servers } = await startServer();
    await using _ = server;
    using checkout = checkoutFor(userOf(60_001));
    const nodes = ['one', 'two', 'three'];
    const [ours, others] = [userOf(61_000), userOf(61_001)];
    await server.call('POST', '/v1/entries:apply', {
      entries: nodes.map((node) => ({
        id: node,
        spiffe_id: `/nodes/${node}`,
        selectors: [`node:name:${node}`, `unix:uid:${ours?.uid ?? UID}`],
      })),
    });
    const agents: AgentProcess[] = [];
    await using stack = new AsyncDisposableStack();
    for (const [i, node] of nodes.entries()) {
      const joinToken = await joinTokenFor(server, node);
      const user = userOf(60_001 + i);
      agents.push(stack.use(await launchAgent({ servers, joinToken, user, checkout: checkout.path })));
    }
    for (const agent of agents) await agent.ready();
    for (const [i, agent] of agents.entries()) {
      const own = await agent.fetch(ours);
      t.is(own.code, 0, own.stderr);
      t.is(JSON.parse(own.stdout).spiffe_id, `spiffe://carnet.local/nodes/${nodes[i]}`);
      const foreign = await agent.fetch(
        ours,
        '--identity',
        `spiffe://carnet.local/nodes/${nodes[(i + 1) % 3]}`,
      );
      t.is(foreign.code, 1, 'an identity of another node');
      if (asRoot) t.is((await agent.fetch(others)).code, 1, 'another user');
    }
    const { items } = (await server.call('GET', '/v1/issuances?limit=100')) as {
      items: { identity: string; node: string; profile: string }[];
    };
    const leaves = items.filter(({ profile }) => profile === 'x509-svid');
    t.deepEqual(
      [...new Set(leaves.map(({ identity, node }) => `${node} ${identity}`))].sort(),
      nodes.map((node) => `${node} spiffe://carnet.local/nodes/${node}`).sort(),
    );
  },
);

test.serial('a join token that was used lets nobody in: the agent ends and says why', async (t) => {
  t.timeout(120_000);
  const { server, servers } = await startServer();
  await using _ = server;
  const joinToken = await joinTokenFor(server, 'one');
  await using first = await launchAgent({ servers, joinToken });
  await first.ready();
  await using second = await launchAgent({ servers, joinToken });
  t.is(await second.ended(), 1);
  t.regex(second.log(), /join_token_used/);
  t.is((await first.fetch()).code, 0, 'the first one is no worse for it');
});

test.serial(
  'a server that is killed and comes back: nobody is ever without a certificate, and what is due is renewed',
  async (t) => {
    t.timeout(240_000);
    const { server, servers } = await startServer('--log-level', 'warn');
    await using _ = server;
    await server.call('POST', '/v1/entries', {
      id: 'web',
      spiffe_id: WEB,
      selectors: [`unix:uid:${UID}`],
      ttl: '30s',
    });
    await using agent = await launchAgent({ servers, joinToken: await joinTokenFor(server, 'one') });
    await agent.ready();
    await using watcher = new Watcher(agent.socket, [WEB]);
    const before = await watcher.other(WEB);
    await server.kill();
    await until('a renewal fails', () => agent.log().includes('a leaf could not be renewed'));
    await using late = new Watcher(agent.socket, [WEB]);
    t.is(await late.other(WEB), before);
    server.start();
    await server.ready();
    const after = await watcher.other(WEB, before);
    t.deepEqual([watcher.streams, late.streams], [1, 1]);
    const { ends = 0 } = watcher.times.get(before) ?? {};
    const { arrived = Number.POSITIVE_INFINITY } = watcher.times.get(after) ?? {};
    t.true(arrived < ends, 'the next came before the last one ended');
    await t.notThrowsAsync(server.call('GET', `/v1/issuances/${after}`));
  },
);

test.serial(
  'an agent that is killed and started again: Envoys come back by themselves, and no handshake fails',
  async (t) => {
    t.timeout(240_000);
    const { server, servers } = await startServer('--log-level', 'warn');
    await using _ = server;
    const key = randomBytes(32).toString('hex');
    for (const [how, args, env] of [
      ['with a cache', ['--cache'], { CARNET_CACHE_KEY: key }],
      ['without one', [], {}],
    ] as const) {
      const node = how.replaceAll(' ', '-');
      const tokenFile = join(server.dataDir, `${node}.token`);
      const renewToken = async () =>
        writeFileSync(tokenFile, await joinTokenFor(server, node), { mode: 0o600 });
      await renewToken();
      await using agent = await launchAgent({
        servers,
        args: ['--join-token-file', tokenFile, ...args],
        env,
      });
      await agent.ready();
      const pair = await startPair({
        agentSocket: agent.socket,
        apiType: 'GRPC',
        trustDomain: 'carnet.local',
        register: ({ id, spiffe_id, selectors }) =>
          server.call('POST', '/v1/entries', { id: `${id}-${node}`, spiffe_id, selectors }),
      });
      const load = startLoad(pair.port, 50);
      try {
        await until('there is traffic', () => load.stats.handshakes > 20);
        const issued = load.stats.clientSerials.size;
        await agent.kill();
        // Whoever has no cache must be let in again: by another token, which it finds in its file.
        if (how === 'without one') await renewToken();
        agent.start();
        const tookMs = await agent.ready();
        const restarted = performance.now();
        const reconnected = await until('both Envoys are back', async () => {
          const streams = await metric(agent.url, 'carnet_sds_streams');
          return streams >= 2 ? performance.now() - restarted : null;
        });
        t.log(
          `${how}: ready after ${tookMs.toFixed(0)} ms; both Envoys back ${reconnected.toFixed(0)} ms later`,
        );
        const at = load.stats.handshakes;
        await until('traffic went on', () => load.stats.handshakes > at + 50);
        t.true(load.stats.clientSerials.size <= issued + 1);
      } finally {
        await assertNoneFailed(t, load);
        await pair.stop();
      }
    }
  },
);

test.serial(
  'an agent with a cache that is killed while its server is away serves each instance what it had, and then goes on',
  async (t) => {
    t.timeout(240_000);
    const { server, servers } = await startServer('--log-level', 'warn');
    await using _ = server;
    await server.call('POST', '/v1/entries', { id: 'web', spiffe_id: WEB, selectors: [`unix:uid:${UID}`] });
    const env = { CARNET_CACHE_KEY: randomBytes(32).toString('base64') };
    const joinToken = await joinTokenFor(server, 'one');
    await using agent = await launchAgent({ servers, joinToken, args: ['--cache'], env });
    await agent.ready();
    await using watcher = new Watcher(agent.socket, [WEB]);
    const held = await watcher.other(WEB);
    const cache = join(agent.dataDir, 'agent-cache');
    await until(
      'it is kept',
      () =>
        (statSync(cache, { throwIfNoEntry: false })?.mtimeMs ?? 0) > (watcher.times.get(held)?.arrived ?? 0),
    );
    await server.kill();
    await agent.kill();
    agent.start();
    await agent.ready();
    await until('the workload is back', async () => (await metric(agent.url, 'carnet_sds_streams')) >= 1);
    await using late = new Watcher(agent.socket, [WEB]);
    t.is(await late.other(WEB), held);
    t.deepEqual([...watcher.seen], [held]);
    t.is((await fetch(`${agent.url}/readyz`)).status, 200);
    t.is(await metric(agent.url, 'carnet_agent_link_up'), 0);
    const newcomer = await agent.fetch();
    t.is(newcomer.code, 1);
    t.log(`a newcomer is told: ${newcomer.stderr.trim()}`);
    server.start();
    await server.ready();
    await until('a newcomer gets an identity', async () => (await agent.fetch()).code === 0);
    t.deepEqual([...watcher.seen], [held], 'what is valid stays');
  },
);

test.serial(
  'a machine with a certificate of its owner’s CA needs no token: killed, it is the same node again',
  async (t) => {
    t.timeout(120_000);
    const directory = mkdtempSync(join(tmpdir(), 'carnet-machine-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const put = (name: string, contents: string): string => {
      writeFileSync(join(directory, name), contents, { mode: 0o600 });
      return join(directory, name);
    };
    const owner = await createAuthority();
    const machine = await owner.issue('/machine');
    put('ca.pem', encodePem('CERTIFICATE', new Uint8Array(owner.certificate.rawData)));
    const methods = put('nodes.yaml', 'x509pop:\n  ca_file: ca.pem\n  node_name: fingerprint\n');
    const { server, servers } = await startServer('--node-attestation', methods);
    await using _ = server;
    const roots = await (await fetch(`${server.url}/v1/bundle.pem`)).text();
    const args = [
      ...['--attest-method', 'x509pop', '--trust-bundle', put('roots.pem', roots)],
      ...[
        '--x509pop-cert-file',
        put('cert.pem', machine.chain.map((der) => encodePem('CERTIFICATE', der)).join('')),
      ],
      ...['--x509pop-key-file', put('key.pem', encodePem('PRIVATE KEY', machine.privateKey))],
    ];
    await using agent = await launchAgent({ servers, args });
    await agent.ready();
    t.is((await agent.fetch()).code, 0);
    await agent.kill();
    agent.start();
    await agent.ready();
    t.is((await agent.fetch()).code, 0);
    const { items } = (await server.call('GET', '/v1/agents')) as {
      items: { method: string; attestations: number }[];
    };
    t.deepEqual(
      items.map(({ method, attestations }) => [method, attestations]),
      [['x509pop', 2]],
    );
  },
);
