import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startAgent } from '../src/cli/start-agent.ts';
import { createLogger } from '../src/log.ts';
import { createMetrics } from '../src/metrics.ts';
import { EntryIndex } from '../src/policy/entry-index.ts';
import { Acknowledgements } from './support/acknowledgements.ts';
import { type Fleet, startFleet } from './support/fleet.ts';
import { startIssuingServer } from './support/issuing-server.ts';
import { type Memory, memoryAtRest } from './support/memory.ts';
import { measureStage, type Stage } from './support/stage.ts';
import { formatTable, machine, median } from './support/table.ts';
import { attestationOf, ENTRY } from './support/workload.ts';

/** More than half of the leaves' hour. */
const UNTIL_ALL_ARE_DUE_MS = 31 * 60_000;
/** Enough to have all code loaded. */
const WARM_UP_PROXIES = 20;

/**
 * `npm run bench -- sds [--proxies N] [--repeats R]`: an agent with so many proxies, for which it issues and
 * records: the memory of each, a push of the bundle and a renewal of all leaves, to the last ACK.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { proxies: { type: 'string', default: '2000' }, repeats: { type: 'string', default: '5' } },
  });
  const proxies = Number(values.proxies);
  process.stdout.write(`${machine()}\n`);
  await using agent = await startBenchAgent();
  await (await agent.connect(WARM_UP_PROXIES)).fleet.stop();
  const before = await memoryAtRest();
  const { fleet, connecting } = await agent.connect(proxies);
  const connected = await memoryAtRest();
  const pushes: Stage[] = [];
  const renewals: Stage[] = [];
  for (let repeat = 0; repeat < Number(values.repeats); repeat++) {
    pushes.push(await agent.pushBundle(proxies));
    renewals.push(await agent.renew(proxies));
  }
  const after = await memoryAtRest();
  await fleet.stop();

  const stages: Stages[] = [
    ['all connect at once; two ACKs each', [connecting]],
    ['the bundle is replaced', pushes],
    ['all leaves are renewed, with new keys, and recorded', renewals],
  ];
  const states: States[] = [
    ['connected', connected],
    ['after all pushes and renewals', after],
  ];
  process.stdout.write(
    `${proxies} proxies, a connection with a stream each. All are one process, on the same CPUs as the agent;\n` +
      'to the agent each is an instance of its own, by a stand-in for attestation. They are among the others below.\n\n' +
      `${stageTable(stages, proxies)}\n${memoryTable(states, before, proxies)}\n` +
      'Aims: the bundle in 500 ms (p99), the renewal in 2 s (last), 80 KiB a connection.\n',
  );
}

interface BenchAgent extends AsyncDisposable {
  connect(proxies: number): Promise<{ fleet: Fleet; connecting: Stage }>;
  pushBundle(proxies: number): Promise<Stage>;
  renew(proxies: number): Promise<Stage>;
}

async function startBenchAgent(): Promise<BenchAgent> {
  await using stack = new AsyncDisposableStack();
  let aheadMs = 0;
  const clock = (): number => Date.now() + aheadMs;
  const { issue, directory, postgresCpuMicros, ...server } = stack.use(await startIssuingServer(clock));
  let { bundle } = server;
  const entries = new EntryIndex([ENTRY]);
  const metrics = createMetrics();
  const acknowledgements = new Acknowledgements(metrics);
  const socket = join(directory, 'agent.sock');
  let callers = 0;
  const agent = await startAgent({
    socket,
    node: 'bench',
    issue,
    mintJwt: () => Promise.reject(new Error('nobody asks for tokens')),
    grantsOf: ({ selectors }) => entries.authorize(selectors),
    bundle: () => bundle,
    clock,
    log: createLogger('warn'),
    metrics,
    attest: () => Promise.resolve(attestationOf(callers++)),
  });
  stack.defer(() => agent.close());
  const owned = stack.move();
  const measure = (expected: number, change: () => void): Promise<Stage> =>
    measureStage(acknowledgements, expected, postgresCpuMicros, change);
  return {
    connect: async (proxies) => {
      const fleet = startFleet();
      // The bundle, and the certificate once it is issued.
      const connecting = await measure(2 * proxies, () => fleet.connect(socket, proxies));
      return { fleet, connecting };
    },
    pushBundle: (proxies) =>
      measure(proxies, () => {
        bundle = { ...bundle, sequence: bundle.sequence + 1 };
        agent.instances.bundleChanged();
      }),
    renew: (proxies) =>
      measure(proxies, () => {
        aheadMs += UNTIL_ALL_ARE_DUE_MS;
        agent.instances.tick();
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Stages = readonly [name: string, repeats: readonly Stage[]];
type States = readonly [name: string, memory: Memory];

/** Medians of the repeats. */
function stageTable(stages: readonly Stages[], proxies: number): string {
  const costs = ['Node µs each', 'PostgreSQL µs each', 'stall ms', "others' CPUs"];
  const rows = stages.map(([name, repeats]) => {
    const of = (field: keyof Stage): number => median(repeats.map((one) => one[field]));
    const times = [of('p50Ms'), of('p99Ms'), of('lastMs')];
    const cpu = [of('nodeMicros') / proxies, of('postgresMicros') / proxies];
    return [name, String(repeats.length), ...times, ...cpu, of('longestStallMs'), of('othersCpus')];
  });
  return formatTable(['', 'repeats', 'p50 ms', 'p99 ms', 'last ms', ...costs], rows);
}

function memoryTable(states: readonly States[], before: Memory, proxies: number): string {
  const rows = states.map(([name, memory]) => {
    const of = (field: keyof Memory): number => (memory[field] - before[field]) / 1024 / proxies;
    return [name, of('inUse'), of('resident')];
  });
  return formatTable(['memory of a connection, at rest', 'in use KiB', 'resident KiB'], rows);
}
