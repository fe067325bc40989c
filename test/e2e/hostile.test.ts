import { X509Certificate } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { Secret } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { IS_ROOT, NOBODY } from '../attestation/caller.ts';
import { TestClient } from '../sds/harness.ts';
import {
  garbage,
  headerFloods,
  neverReaders,
  rapidResets,
  silentConnections,
  tenThousandNames,
} from '../support/attacks.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { MEASURABLE, memoryOf } from '../support/memory.ts';
import { metric } from '../support/metrics.ts';
import { startStranger } from '../support/stranger.ts';
import { until } from '../support/until.ts';
import { Watcher } from '../support/watcher.ts';

const OUR_UID = process.getuid?.() ?? 0;
const VICTIM = 'spiffe://carnet.local/secret/payments';
const REFUSED_NAMES = 'carnet_sds_refused_names_total';
const MIB = 1 << 20;

/** Under which a certificate of somebody else might be had, if names were taken lightly. */
const NAMES = [
  VICTIM,
  `${VICTIM}/`,
  `${VICTIM}\0`,
  ` ${VICTIM}`,
  'spiffe://carnet.local/secret/../secret/payments',
  'spiffe://carnet.local//secret/payments',
  'SPIFFE://CARNET.LOCAL/secret/payments',
  'spiffe://carnet.local/secret/*',
  'spiffe://carnet.local/',
  '/secret/payments',
  'payments',
  '*',
  '',
  'DEFAULT',
  'default\0',
  'default/payments',
  'ROOTCA/../default',
  'gateway/payments',
  '__proto__',
  'constructor',
];

const asRoot = IS_ROOT ? test.serial : test.serial.skip;

for (const { uid, who, own } of [
  { uid: NOBODY, who: 'without any entry', own: [] },
  { uid: 1, who: 'with an entry of his own', own: ['spiffe://carnet.local/stranger'] },
])
  asRoot(`a caller of another uid, ${who}, gets nobody else's identity by any name and method`, async (t) => {
    t.timeout(400_000);
    await using carnet = await startCarnet(['--log-level', 'error']);
    await carnet.call('POST', '/v1/entries:apply', {
      entries: [
        { id: 'victim', spiffe_id: VICTIM, selectors: [`unix:uid:${OUR_UID}`] },
        { id: 'stranger', spiffe_id: '/stranger', selectors: ['unix:uid:1'] },
      ],
    });
    // The agent holds it, and hands it out to whose it is.
    await using victim = new Watcher(carnet.agentSocket, [VICTIM]);
    await victim.other(VICTIM);
    await using stranger = await startStranger(carnet.agentSocket, uid);
    const client = new TestClient(stranger.path, 'stranger');
    const got: string[] = [];
    for (const name of NAMES) {
      got.push(...(await streamed(client, [name, 'ROOTCA'])));
      got.push(...(await deltaed(client, [name, 'ROOTCA'])));
      got.push(...(await refused(t, client, name)));
    }
    t.deepEqual(got, []);
    // All at once, and everything that there is: wildcards of the two variants.
    for (const names of [[...NAMES, 'ROOTCA'], []]) {
      t.deepEqual(await streamed(client, names), []);
      t.deepEqual(await deltaed(client, names), []);
    }
    // His own, if any, is all that is his.
    t.deepEqual(await streamed(client, ['default', VICTIM, 'ROOTCA']), own);
    t.deepEqual(await deltaed(client, ['default', VICTIM, 'ROOTCA']), own);
    t.is(
      (await refusal(client, 'spiffe://carnet.local/not/there')).replace('not/there', 'secret/payments'),
      await refusal(client, VICTIM),
    );

    const before = await metric(carnet.url, REFUSED_NAMES);
    const stream = client.stream();
    stream.send({ resourceNames: [VICTIM] });
    await until('it is counted', async () => (await metric(carnet.url, REFUSED_NAMES)) > before);
    const shown = await proxies(carnet, stranger.pid);
    t.deepEqual(
      shown.map(({ identities, waiting, resources }) => ({ identities, waiting, resources })),
      [{ identities: own, waiting: [VICTIM], resources: [] }],
    );
    stream.call.cancel();
    client.close();
  });

asRoot('callers of two uids that ask at the same time each get their own', async (t) => {
  await using carnet = await startCarnet(['--log-level', 'error']);
  await using stranger = await startStranger(carnet.agentSocket, 1);
  await carnet.call('POST', '/v1/entries', { id: 's', spiffe_id: '/stranger', selectors: ['unix:uid:1'] });
  const paths = [carnet.agentSocket, stranger.path];
  const identities = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const client = new TestClient(paths[i % 2] ?? '', 'caller');
      const uris = identitiesIn((await client.fetch('default')).resources);
      client.close();
      return uris;
    }),
  );
  t.deepEqual(
    identities.filter((_, i) => i % 2 === 0),
    Array(100).fill(['spiffe://carnet.local/user/root']),
  );
  t.deepEqual(
    identities.filter((_, i) => i % 2 === 1),
    Array(100).fill(['spiffe://carnet.local/stranger']),
  );
});

test.serial('hostile clients neither stop nor bloat the server', async (t) => {
  t.timeout(400_000);
  await using carnet = await startCarnet(['--log-level', 'error'], MEASURABLE);
  const path = carnet.agentSocket;
  const { pid } = carnet;
  await serves(carnet);
  const before = await memoryOf(carnet);
  await withstands(t, carnet, 'garbage', () => garbage(path));
  await withstands(t, carnet, '10,000 names, 100 times', async () => {
    for (const details of await tenThousandNames(path)) t.regex(details, /10000 resource names are too many/);
  });
  await withstands(t, carnet, '2,000 silent connections', async () => {
    const { closed, end } = await silentConnections(path, 1000);
    await serves(carnet);
    end();
    await closed;
  });
  await withstands(
    t,
    carnet,
    '100 readers that never read, while what they asked for changes 50 times',
    async () => {
      await using honest = new Watcher(path, ['default']);
      let held = await honest.other('default');
      const readers = await neverReaders(path, 'default', 10);
      for (let version = 0; version < 50; version++) {
        await reissue(carnet, version);
        held = await honest.other('default', held);
      }
      await readers.end();
    },
  );
  await withstands(t, carnet, 'floods of headers', () => headerFloods(path));
  await withstands(t, carnet, '10,000 rapid resets', () => rapidResets(path, 10_000));
  await until('nobody is connected', async () => (await proxies(carnet)).length === 0);
  const after = await memoryOf(carnet);
  t.true(after.heapUsed + after.external - before.heapUsed - before.external < 32 * MIB);
  // Much of it is what the allocator keeps of connections that came and went.
  t.true(after.rss - before.rss < 512 * MIB);
  t.is(carnet.pid, pid);
});

/** Runs an attack while a good client goes on asking for its certificate, which it must get. */
async function withstands(
  t: ExecutionContext,
  carnet: CarnetProcess,
  name: string,
  attack: () => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  const before = await memoryOf(carnet);
  const begin = performance.now();
  let worst = 0;
  const honest = (async () => {
    while (!over.signal.aborted) worst = Math.max(worst, await serves(carnet));
  })();
  await attack().finally(() => over.abort());
  await honest;
  const took = performance.now() - begin;
  await until('no stream is left open', async () => (await metric(carnet.url, 'carnet_sds_streams')) === 0);
  const after = await memoryOf(carnet);
  t.log(
    `${name}: ${took.toFixed(0)} ms, in which a good client connects and is served within ${worst.toFixed(0)} ms; ` +
      `heap ${mib(before.heapUsed)} MiB before, ${mib(after.heapUsed)} after, RSS ${mib(before.rss)} and ${mib(after.rss)}`,
  );
}

/** A new version of the entry that grants this program its default certificate. */
async function reissue(carnet: CarnetProcess, version: number): Promise<void> {
  const selectors = [`unix:uid:${OUR_UID}`, `unix:path:${process.execPath}`];
  const entry = { id: 'e', spiffe_id: '/e', selectors, dns_names: [`v${version}.test`] };
  await carnet.call('POST', '/v1/entries:apply', { entries: [entry] });
}

/** A good client connects and gets its certificate: resolves to the milliseconds that it took. */
async function serves(carnet: CarnetProcess): Promise<number> {
  const begin = performance.now();
  const client = new TestClient(carnet.agentSocket, 'honest');
  await client.fetch('default', 'ROOTCA');
  client.close();
  return performance.now() - begin;
}

/** The identities of the certificates that come on a stream until it holds the bundle, or ends. */
async function streamed(client: TestClient, names: readonly string[]): Promise<string[]> {
  const stream = client.stream();
  stream.send({ resourceNames: [...names] });
  // After the wildcard of an empty list, something must come that shows that there is nothing else.
  if (names.length === 0) stream.send({ resourceNames: ['ROOTCA'] });
  return identitiesUntilBundle(stream, ({ resources }) => resources);
}

async function deltaed(client: TestClient, names: readonly string[]): Promise<string[]> {
  const stream = client.delta();
  stream.send({ resourceNamesSubscribe: [...names] });
  if (names.length === 0) stream.send({ resourceNamesSubscribe: ['ROOTCA'] });
  return identitiesUntilBundle(stream, ({ resources }) =>
    resources.flatMap(({ resource }) => (resource === undefined ? [] : [resource])),
  );
}

interface AnyStream<Response> {
  next(): Promise<Response>;
  readonly ended: Promise<unknown>;
  readonly call: { cancel(): void };
}

async function identitiesUntilBundle<Response>(
  stream: AnyStream<Response>,
  resourcesIn: (response: Response) => { value: Uint8Array }[],
): Promise<string[]> {
  const identities: string[] = [];
  for (;;) {
    const response = await Promise.race([stream.next(), stream.ended.then(() => null)]);
    if (response === null) return identities;
    const resources = resourcesIn(response);
    identities.push(...identitiesIn(resources));
    if (resources.some(({ value }) => Secret.decode(value).name === 'ROOTCA')) break;
  }
  stream.call.cancel();
  return identities;
}

/** The identities of the certificates among these secrets. */
function identitiesIn(resources: readonly { value: Uint8Array }[]): string[] {
  return resources.flatMap(({ value }) => {
    const { type } = Secret.decode(value);
    if (type?.$case !== 'tlsCertificate') return [];
    const specifier = type.value.certificateChain?.specifier;
    if (specifier?.$case !== 'inlineBytes') return ['a certificate that is not inline'];
    return (new X509Certificate(specifier.value).subjectAltName ?? '').replaceAll('URI:', '').split(', ');
  });
}

/** A fetch of this name, which must be denied or malformed; resolves to the identities that it got after all. */
async function refused(t: ExecutionContext, client: TestClient, name: string): Promise<string[]> {
  try {
    return identitiesIn((await client.fetch(name)).resources);
  } catch (error) {
    const { code } = error as { code: number };
    t.true([status.PERMISSION_DENIED, status.INVALID_ARGUMENT].includes(code), `${name}: ${error}`);
    return [];
  }
}

async function refusal(client: TestClient, name: string): Promise<string> {
  return client.fetch(name).then(
    () => 'granted',
    (error: { details: string }) => error.details,
  );
}

interface ShownProxy {
  readonly instance: string;
  readonly identities: readonly string[];
  readonly waiting: readonly string[];
  readonly resources: readonly unknown[];
}

/** What `carnet proxies` shows, of this process where one is given. */
async function proxies(carnet: CarnetProcess, pid?: number): Promise<ShownProxy[]> {
  const { code, stdout, stderr } = await carnet.cli('proxies', '--json');
  if (code !== 0) throw new Error(stderr);
  const shown = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ShownProxy);
  return pid === undefined ? shown : shown.filter(({ instance }) => instance.split(':')[2] === String(pid));
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}
