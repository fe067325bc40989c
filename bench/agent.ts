import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  type AgentProgram,
  startBuiltAgent,
  startCallers,
  startStandingIn,
} from './support/carnet-agents.ts';
import { processCpuMicros } from './support/cpu.ts';
import { type Crowd, connectCrowd } from './support/crowd.ts';
import { type ServerWithAgent, startServerWithAgent } from './support/server-with-agent.ts';
import { formatTable, machine, median, percentile } from './support/table.ts';

/** Containers are numbered anew for each agent. */
const NUMBERS = 100_000;
const WARM_UP_CALLS = 20;
/** From one call to the next: a calm node. */
const PAUSE_MS = 40;
const REST_SECONDS = 15;
/** What was delivered is reported 0.2 s later. */
const SETTLE_MS = 500;

/**
 * `npm run bench -- agent [--workloads N] [--calls N] [--containers N] [--renewals N] [--repeats R]`: what an agent on a
 * node of its own takes and costs: its memory, a workload's first SVID, many new containers at once, and what the server
 * pays for a renewal, beside an agent in the server's own process.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      workloads: { type: 'string', default: '100' },
      calls: { type: 'string', default: '300' },
      containers: { type: 'string', default: '1000' },
      renewals: { type: 'string', default: '500' },
      repeats: { type: 'string', default: '5' },
    },
  });
  const print = (text: string): void => void process.stdout.write(`${text}\n`);
  print(machine());
  await using server = await startServerWithAgent();
  await measureProcess(server, Number(values.workloads), Number(values.calls), print);
  print(await measureCrowds(server, Number(values.containers)));
  print(await measureRenewals(server, Number(values.renewals), Number(values.repeats)));
  print(
    'Aims: 80 MiB with 100 workloads, a first SVID in 50 ms (p99). To the last two tables, each connection\n' +
      `is a container of its own by a stand-in for attestation. At the end: ${machine()}`,
  );
}

/** The built `carnet agent`, whose workloads are processes of their own. */
async function measureProcess(
  server: ServerWithAgent,
  workloads: number,
  calls: number,
  print: (text: string) => void,
): Promise<void> {
  const selectors = [`unix:uid:${process.getuid?.()}`, 'node:name:measured'];
  await server.grant({ id: 'processes', spiffe_id: '/bench/process', selectors, dns_names: [] });
  await using agent = await startBuiltAgent(await server.join('measured'));
  const socket = join(server.directory, 'callers.sock');
  await using _ = await startCallers(agent.socket, socket);
  print(await measureMemory(agent, socket, workloads));
  print(await measureFirst(socket, calls));
}

async function measureMemory({ pid }: AgentProgram, socket: string, workloads: number): Promise<string> {
  const started = await memoryAtRest(pid);
  const crowd: Crowd[] = [];
  // One after the other, as a node's containers start.
  for (let i = 0; i < workloads; i++) crowd.push(await connectCrowd(socket, 1));
  const connected = await memoryAtRest(pid);
  for (const one of crowd) one.close();
  return formatTable(
    ['`carnet agent` at rest', 'resident MiB', 'its own MiB', 'of files MiB'],
    [
      ['no workload', ...started],
      [`${workloads} workloads, a process with a stream each`, ...connected],
    ],
  );
}

/** Resident; of that what is the process's own, and pages of files, which all processes share: the least in some seconds. */
async function memoryAtRest(pid: number): Promise<number[]> {
  const looks: number[][] = [];
  for (let second = 0; second < REST_SECONDS; second++) {
    await sleep(1000);
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    looks.push(['VmRSS', 'RssAnon', 'RssFile'].map((field) => mebibytes(status, field)));
  }
  return looks.toSorted(([a = 0], [b = 0]) => a - b)[0] ?? [];
}

function mebibytes(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
}

/** Beside it how late a timer of ours is: what others on this machine take, each step of the way takes once more. */
async function measureFirst(socket: string, calls: number): Promise<string> {
  const [times, late]: [number[], number[]] = [[], []];
  for (let call = -WARM_UP_CALLS; call < calls; call++) {
    const begin = performance.now();
    await sleep(PAUSE_MS);
    const lateMs = performance.now() - begin - PAUSE_MS;
    const crowd = await connectCrowd(socket, 1);
    crowd.close();
    if (call < 0) continue;
    late.push(lateMs);
    times.push(...crowd.firstMs);
  }
  const row = (name: string, all: number[]): [string, ...number[]] => [
    name,
    ...[0.1, 0.5, 0.9, 0.99].map((share) => percentile(all, share)),
  ];
  return formatTable(
    [`${calls} new processes, one after the other`, 'p10 ms', 'p50 ms', 'p90 ms', 'p99 ms'],
    [row('first SVID: connection, attestation, key, CSR, record', times), row('a timer is late by', late)],
  );
}

type Place = readonly [name: string, node: string, socket: string];

async function measureCrowds(server: ServerWithAgent, containers: number): Promise<string> {
  await using agent = await startStandingIn(NUMBERS, await server.join('crowded'));
  const rows: [string, ...number[]][] = [];
  for (const [name, node, socket] of placesOf(server, 'crowded', agent)) {
    await grantTo(server, node, 'first');
    const { firstMs, close } = await connectCrowd(socket, containers);
    close();
    rows.push([name, median(firstMs), percentile(firstMs, 0.99), Math.max(...firstMs)]);
  }
  return formatTable([`${containers} new containers at once`, 'p50 ms', 'p99 ms', 'last ms'], rows);
}

/** All leaves of a node are renewed when their entry changes. The two places take turns. */
async function measureRenewals(server: ServerWithAgent, renewals: number, repeats: number): Promise<string> {
  await using agent = await startStandingIn(2 * NUMBERS, await server.join('renewing'));
  const places: (readonly [Place, Crowd, number[][]])[] = [];
  for (const place of placesOf(server, 'renewing', agent)) {
    await grantTo(server, place[1], 'first');
    places.push([place, await connectCrowd(place[2], renewals), []]);
  }
  for (let repeat = 0; repeat < repeats; repeat++)
    for (const [[, node], crowd, costs] of places) {
      const before = [processCpuMicros(server.pid), processCpuMicros(agent.pid), server.postgresCpuMicros()];
      const renewed = crowd.renewed();
      await grantTo(server, node, `renewal-${repeat}`);
      await renewed;
      await sleep(SETTLE_MS);
      const after = [processCpuMicros(server.pid), processCpuMicros(agent.pid), server.postgresCpuMicros()];
      costs.push(after.map((micros, i) => (micros - (before[i] ?? 0)) / renewals));
    }
  const rows = places.map(([[name], crowd, costs]): [string, ...number[]] => {
    crowd.close();
    const ratios = costs.map(([micros = 0], repeat) => micros / (places[0]?.[2][repeat]?.[0] ?? Number.NaN));
    return [name, ...[0, 1, 2].map((of) => median(costs.map((cost) => cost[of] ?? 0))), median(ratios)];
  });
  return formatTable(
    [
      `a renewal, of ${renewals} at once, ${repeats} times`,
      'server µs',
      'agent elsewhere µs',
      'PostgreSQL µs',
      '× server',
    ],
    rows,
  );
}

function placesOf(server: ServerWithAgent, node: string, agent: AgentProgram): Place[] {
  return [
    ["an agent in the server's process", 'server', server.socket],
    ['an agent of its own', node, agent.socket],
  ];
}

/** To each container on the node an identity of its own; with another `name` than before, again. */
function grantTo(server: ServerWithAgent, node: string, name: string): Promise<void> {
  return server.grant({
    id: node,
    spiffe_id: '/bench/{container:id}',
    selectors: ['unix:uid:1000', `node:name:${node}`],
    dns_names: [`${name}.bench.internal`],
  });
}
