import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startCpuMeter } from './support/cpu.ts';
import { type LinkServer, startLinkServer } from './support/link-server.ts';
import { type FleetWorkload, type NodeFleet, startNodeFleet } from './support/node-fleet.ts';
import { formatTable, machine } from './support/table.ts';
import { comparable } from './support/workload-stream.ts';

/** Of a leaf's life. */
const GONE_SHARE = 0.55;
const POLL_MS = 50;

/**
 * `npm run bench -- agents [--agents N] [--workloads N] [--ttl SECONDS]`: agents whose only server is gone for more than
 * half of a leaf's life, and comes back. Fails when a leaf ended before its workload had the next, when a stream broke,
 * or when a leaf that was handed out is not on record.
 *
 * The agents are real ones, in this process, on a real server in its own; each workload is a client of the Workload API
 * on its agent's socket, and a container of its own by a stand-in for attestation. All leaves are young when the server
 * goes and due when it comes back: no fleet asks for more at once. (One that is as old as it may get, half of its life,
 * has only the other half left, whatever an agent does.)
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      agents: { type: 'string', default: '200' },
      workloads: { type: 'string', default: '10' },
      ttl: { type: 'string', default: '120' },
    },
  });
  const ttlSeconds = Number(values.ttl);
  const size = { agents: Number(values.agents), workloads: Number(values.workloads) };
  process.stdout.write(`${machine()}\n`);
  await using server = await startLinkServer(ttlSeconds);
  await using fleet = await startNodeFleet(server, size);
  await untilRenewed(fleet, 0, ttlSeconds);

  const goneAt = Date.now();
  await server.process.kill();
  const usedAlone = startCpuMeter(server.postgresCpuMicros);
  await sleep(ttlSeconds * GONE_SHARE * 1000);
  const aloneCpus = usedAlone().nodeMicros / (ttlSeconds * GONE_SHARE * 1e6);
  const startedAt = Date.now();
  await server.process.restart();
  const backAt = Date.now();
  const used = startCpuMeter(server.postgresCpuMicros);
  await untilRenewed(fleet, startedAt, ttlSeconds);
  const { othersCpus } = used();

  const outcome = await outcomeOf(server, fleet);
  const rows = await rowsOf(server, fleet, { startedAt, backAt });
  process.stdout.write(
    `${size.agents} agents with ${size.workloads} workloads each, leaves of ${ttlSeconds} s; the server gone for ${tenths(backAt - goneAt)} s\n\n` +
      formatTable(
        ['from when the server was back', ''],
        [
          ...rows,
          ['CPUs that the agents took while it was gone', aloneCpus.toFixed(2)],
          ["others' CPUs, the server's among them", othersCpus.toFixed(1)],
          ['leaves that ended before the next came', String(outcome.expired)],
          ['streams that broke', String(outcome.broken)],
          ['leaves handed out since the start', String(outcome.handedOut)],
          ['of these not on record', String(outcome.lost)],
        ],
      ) +
      '\nAims: nothing ended, nothing lost; no more than 50 sessions begin in a second, but for 50 at once after a rest.\n',
  );
  if (outcome.expired + outcome.broken + outcome.lost > 0) process.exitCode = 1;
}

/** Until all have what was handed out after `since`; for a leaf's life at most. */
async function untilRenewed({ workloads }: NodeFleet, since: number, ttlSeconds: number): Promise<void> {
  const deadline = performance.now() + ttlSeconds * 1000;
  const waits = ({ received, problem }: FleetWorkload): boolean =>
    problem === null && (received.at(-1)?.at ?? Number.NEGATIVE_INFINITY) < since;
  while (performance.now() < deadline && workloads.some(waits)) await sleep(POLL_MS);
}

interface Outcome {
  readonly expired: number;
  readonly broken: number;
  readonly handedOut: number;
  readonly lost: number;
}

async function outcomeOf({ database }: LinkServer, { workloads }: NodeFleet): Promise<Outcome> {
  const now = Date.now();
  const rows = await database.query<{ serial: string }>(
    "SELECT encode(serial, 'hex') AS serial FROM issuance",
  );
  const recorded = new Set(rows.map(({ serial }) => comparable(serial)));
  const serials = workloads.flatMap(({ received }) => received.map(({ serial }) => serial));
  return {
    expired: workloads.filter((workload) => marginsMs(workload, now).some((margin) => margin <= 0)).length,
    broken: workloads.filter(({ problem }) => problem !== null).length,
    handedOut: new Set(serials).size,
    lost: serials.filter((serial) => !recorded.has(serial)).length,
  };
}

/** What was left of each leaf when the next came, and of the last one now; a workload without any has less than nothing. */
function marginsMs({ received }: FleetWorkload, now: number): number[] {
  if (received.length === 0) return [Number.NEGATIVE_INFINITY];
  return received.map(({ notAfter }, i) => notAfter - (received[i + 1]?.at ?? now));
}

async function rowsOf(
  { database, process: { url } }: LinkServer,
  fleet: NodeFleet,
  { startedAt, backAt }: { readonly startedAt: number; readonly backAt: number },
): Promise<[string, string][]> {
  const rows = await database.query<{ at: number }>(
    `SELECT extract(epoch FROM recorded_at)::float8 * 1000 AS at FROM issuance
     WHERE profile = 'x509-svid' AND recorded_at >= to_timestamp($1::float8 / 1000)`,
    [startedAt],
  );
  const leaves = rows.map(({ at }) => at);
  const sessions = fleet.sessions.filter((at) => at >= startedAt);
  const renewed = fleet.workloads.map(
    ({ received }) => received.find(({ at }) => at >= startedAt)?.at ?? NaN,
  );
  const margins = fleet.workloads.map((workload) => Math.min(...marginsMs(workload, Date.now())));
  return [
    ['the first agent has a session, s', tenths(Math.min(...sessions) - backAt)],
    ['the last one', tenths(Math.max(...sessions) - backAt)],
    ['sessions that began in the busiest second', String(busiestSecond(sessions))],
    ['the last workload has its next leaf, s', tenths(Math.max(...renewed) - backAt)],
    ['leaves issued, of the CSRs that came', `${leaves.length} of ${await askedOf(url)}`],
    ['CSRs in the busiest second', String(busiestSecond(leaves))],
    ['the least that was left of a leaf when the next came, s', tenths(Math.min(...margins))],
  ];
}

/** All that were asked for since the server's start, whatever came of it. */
async function askedOf(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const samples = text.matchAll(/^carnet_issuances_total\{profile="x509-svid",.*\} (\d+)$/gm);
  return [...samples].reduce((sum, [, value]) => sum + Number(value), 0);
}

function tenths(milliseconds: number): string {
  return Number.isFinite(milliseconds) ? (milliseconds / 1000).toFixed(1) : '–';
}

/** The most of these instants (milliseconds) that lie within a second. */
function busiestSecond(instants: readonly number[]): number {
  const sorted = instants.toSorted((a, b) => a - b);
  let [most, first] = [0, 0];
  for (const [i, at] of sorted.entries()) {
    while (at - (sorted[first] ?? at) >= 1000) first++;
    most = Math.max(most, i - first + 1);
  }
  return most;
}
