import { join } from 'node:path';
import { readAgentConfig } from '../../src/agent-config.ts';
import { type RunningNodeAgent, startNodeAgent } from '../../src/cli/start-node-agent.ts';
import { systemClock } from '../../src/clock.ts';
import { createLogger } from '../../src/log.ts';
import { joinTokenFor } from '../../test/support/agent.ts';
import type { LinkServer } from './link-server.ts';
import { attestationOf } from './workload.ts';
import { openWorkload, type ReceivedSvid } from './workload-stream.ts';

/** Node agents, all in this process, each with its own socket, its own link to the server, and workloads. */
export interface NodeFleet extends AsyncDisposable {
  readonly workloads: readonly FleetWorkload[];
  /** When a session with a server began, milliseconds since the epoch. */
  readonly sessions: readonly number[];
}

/** What one workload, a client of the Workload API, was handed out, and when. */
export interface FleetWorkload {
  readonly received: readonly (ReceivedSvid & { readonly at: number })[];
  /** Why its stream ended; null while it is open. */
  readonly problem: string | null;
}

export interface NodeFleetSize {
  readonly agents: number;
  /** Of each agent. */
  readonly workloads: number;
}

const STARTS_AT_ONCE = 8;

/** Starts the agents, and when all serve connects all workloads at once. */
export async function startNodeFleet(server: LinkServer, size: NodeFleetSize): Promise<NodeFleet> {
  await using stack = new AsyncDisposableStack();
  const sessions: number[] = [];
  const log = createLogger('info', {
    write: (line) => {
      if (line.includes('connected to a server')) sessions.push(Date.now());
    },
  });
  const agents: RunningNodeAgent[] = [];
  stack.defer(async () => void (await Promise.all(agents.map((agent) => agent.close()))));
  const numbers = Array.from({ length: size.agents }, (_, number) => number).values();
  const startSome = async (): Promise<void> => {
    for (const number of numbers) {
      let callers = number * size.workloads;
      const agent = await startNodeAgent({
        config: readAgentConfig(new Map(), {
          CARNET_SERVER_ADDR: server.address,
          CARNET_JOIN_TOKEN: await joinTokenFor(server.process, `node-${number}`),
          CARNET_AGENT_SOCKET: join(server.directory, `agent-${number}.sock`),
        }),
        cacheKeyText: undefined,
        clock: systemClock,
        log,
        signal: new AbortController().signal,
        attest: () => Promise.resolve(attestationOf(callers++)),
      });
      agents.push(agent);
    }
  };
  await Promise.all(Array.from({ length: STARTS_AT_ONCE }, startSome));
  const workloads = agents.flatMap(({ socket }) =>
    Array.from({ length: size.workloads }, () => startWorkload(socket, stack)),
  );
  const owned = stack.move();
  return { workloads, sessions, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function startWorkload(socket: string, stack: AsyncDisposableStack): FleetWorkload {
  const received: (ReceivedSvid & { readonly at: number })[] = [];
  const workload = { received, problem: null as string | null };
  const stream = openWorkload(
    socket,
    (svid) => received.push({ ...svid, at: Date.now() }),
    (why) => {
      workload.problem = why;
    },
  );
  stack.defer(() => stream.close());
  return workload;
}
