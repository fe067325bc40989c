import { X509Certificate } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { listConsumers } from '../src/db/consumers.ts';
import { type Load, startLoad } from '../test/support/load.ts';
import { type Mesh, oncePerPort, startMesh } from '../test/support/mesh.ts';
import { until } from '../test/support/until.ts';
import { makeVenv } from '../test/support/venv.ts';
import { type BenchReplicas, startBenchReplicas } from './support/replicas.ts';
import { formatTable, machine } from './support/table.ts';
import { ENTRY } from './support/workload.ts';

const LOOK_MS = 250;
const CONNECT_TIMEOUT_MS = 300_000;
/** New mTLS connections between Envoys; what they cost, the fleet hasn't. */
const HANDSHAKES_PER_SECOND = 60;
/** As Carnet writes a serial. */
const SERIAL_DIGITS = 32;

/**
 * `npm run bench -- rotate [--proxies N] [--envoys N]`: the root of so many connected SDS clients, on two replicas or
 * more, is rotated and then tainted, from the command to the old root gone from every bundle: each acknowledges the
 * new bundle, gets a leaf under it, recorded, and acknowledges that. Real Envoys call each other meanwhile, each on
 * connections of their own: ends with 1 if a handshake failed.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { proxies: { type: 'string', default: '2000' }, envoys: { type: 'string', default: '0' } },
  });
  const [proxies, envoys] = [Number(values.proxies), Number(values.envoys)];
  process.stdout.write(`${machine()}\n`);
  await using replicas = await startBenchReplicas(proxies);
  await connectFleets(replicas, proxies);
  const mesh = await startEnvoys(replicas, envoys);
  const rows: string[][] = [];
  try {
    for (const verb of ['rotate', 'taint'] as const) rows.push(await rotate(verb, replicas, mesh));
  } finally {
    await mesh?.stop();
  }
  const header = ['', 'published', 'all acknowledged: activated', 'all leaves replaced: retired'];
  process.stdout.write(
    `${proxies} SDS clients, a connection each, and ${envoys} Envoys that all call each other, on ` +
      `${replicas.fleets.length} replicas and\none PostgreSQL, all of them on the same CPUs. To the agents each client ` +
      'is a container of its own, by a stand-in for\nattestation. Seconds since the command.\n\n' +
      `${formatTable([...header, 'old root gone from all', 'handshakes', 'failed'], rows)}\n` +
      'Aims: under 60 s with 10,000 clients; no handshake fails.\n',
  );
}

async function connectFleets({ fleets, agentSockets, call, database }: BenchReplicas, proxies: number) {
  await call('POST', '/v1/entries', {
    id: ENTRY.id,
    spiffe_id: ENTRY.spiffeId,
    selectors: ENTRY.selectors,
    dns_names: ENTRY.dnsNames,
  });
  const share = Math.ceil(proxies / fleets.length);
  for (const [i, fleet] of fleets.entries())
    fleet.connect(agentSockets[i] ?? '', Math.min(share, proxies - i * share));
  const deadline = performance.now() + CONNECT_TIMEOUT_MS;
  const ready = async (): Promise<number> =>
    (await listConsumers(database)).filter(
      (one) => one.bundleAcknowledged !== null && one.authorities.length > 0,
    ).length;
  while ((await ready()) < proxies) {
    if (performance.now() > deadline) throw new Error('the proxies did not connect in time');
    await pause(LOOK_MS);
  }
}

async function startEnvoys({ agentSockets, call }: BenchReplicas, count: number): Promise<Mesh | null> {
  if (count === 0) return null;
  process.env.CARNET_TEST_VENV = await makeVenv();
  const register = (entry: object): Promise<unknown> => call('POST', '/v1/entries', entry);
  return startMesh({ count, agentSockets, trustDomain: 'carnet.local', register });
}

async function rotate(
  verb: 'rotate' | 'taint',
  replicas: BenchReplicas,
  mesh: Mesh | null,
): Promise<string[]> {
  const before = await active(replicas);
  const load = mesh === null ? null : startLoad(mesh.ports, HANDSHAKES_PER_SECOND);
  try {
    const begin = Date.now();
    const yes = verb === 'taint' ? ['--yes'] : [];
    const { code, stderr } = await replicas.cli('root', verb, ...yes, '--reason', 'bench');
    if (code !== 0) throw new Error(stderr);
    await until('nobody has the old root, and everybody a leaf under the new one', async () =>
      isEverywhere(replicas, mesh, before, await active(replicas)),
    );
    const gone = Date.now();
    const times = await stepTimes(replicas, begin);
    const seconds = [...times, gone].map((at) => ((at - begin) / 1000).toFixed(1));
    return [verb, ...seconds, ...(await handshakes(load, mesh))];
  } finally {
    await load?.stop();
  }
}

/** How many were made, and failed; from now on each pair has made new ones. */
async function handshakes(load: Load | null, mesh: Mesh | null): Promise<string[]> {
  if (load === null || mesh === null) return ['–', '–'];
  await oncePerPort(load, mesh.ports);
  await load.stop();
  const { handshakes, failures, errors } = load.stats;
  if (failures > 0) process.exitCode = 1;
  for (const error of errors) process.stderr.write(`a handshake failed: ${error}\n`);
  return [String(handshakes), String(failures)];
}

/** PEM of the root and the issuing CA that sign now. */
interface Active {
  readonly root: string;
  readonly issuing: string;
}

async function active({ call }: BenchReplicas): Promise<Active> {
  const { items } = (await call('GET', '/v1/authorities')) as {
    items: { kind: string; state: string; certificate: string }[];
  };
  const of = (kind: string): string =>
    items.find((one) => one.kind === kind && one.state === 'active')?.certificate.trim() ?? '';
  return { root: of('root'), issuing: of('issuing') };
}

/** By what the clients hold, and by what the Envoys say that they use. */
async function isEverywhere(
  { fleets, database }: BenchReplicas,
  mesh: Mesh | null,
  before: Active,
  now: Active,
): Promise<boolean> {
  for (const fleet of fleets) {
    const [all, old, root, issuing] = await fleet.holders(['', before.root, now.root, now.issuing]);
    if (old !== 0 || root !== all || issuing !== all) return false;
  }
  if (mesh === null) return true;
  const [oldRoot, newRoot] = [serialOf(before.root), serialOf(now.root)];
  const issued = await database.query<{ serial: string }>(
    `SELECT encode(issuance.serial, 'hex') AS serial FROM issuance JOIN authority ON authority.id = authority_id
     WHERE authority.kind = 'issuing' AND authority.state = 'active' AND instance LIKE 'process:%'`,
  );
  const fresh = new Set(issued.map(({ serial }) => serial));
  for (const envoy of mesh.envoys) {
    const { certificates } = JSON.parse(await envoy.admin('/certs')) as { certificates: InUse[] };
    const trusted = certificates.flatMap(({ ca_cert }) => ca_cert.map(serialIn));
    const presented = certificates.flatMap(({ cert_chain }) => cert_chain.map(serialIn));
    if (trusted.includes(oldRoot) || !trusted.includes(newRoot)) return false;
    if (presented.length === 0 || !presented.every((serial) => fresh.has(serial))) return false;
  }
  return true;
}

/** Of Envoy's `/certs`: hexadecimal, lower case, without leading zeros. */
interface InUse {
  readonly ca_cert: readonly { readonly serial_number: string }[];
  readonly cert_chain: readonly { readonly serial_number: string }[];
}

function serialIn({ serial_number }: { readonly serial_number: string }): string {
  return serial_number.padStart(SERIAL_DIGITS, '0');
}

function serialOf(pem: string): string {
  return new X509Certificate(pem).serialNumber.toLowerCase().padStart(SERIAL_DIGITS, '0');
}

/** When a root was published, activated and retired since then: by the operator events, in milliseconds since the epoch. */
async function stepTimes({ database }: BenchReplicas, since: number): Promise<number[]> {
  const rows = await database.query<{ action: string; at: Date }>(
    `SELECT action, max(recorded_at) AS at FROM operator_event
     WHERE recorded_at > to_timestamp($1::float8 / 1000) GROUP BY action`,
    [since],
  );
  return ['publish', 'activate', 'retire'].map(
    (step) => rows.find(({ action }) => action === `authority.${step}`)?.at.getTime() ?? Number.NaN,
  );
}
