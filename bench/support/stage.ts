import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Acknowledgements } from './acknowledgements.ts';
import { type CpuUse, startCpuMeter } from './cpu.ts';
import { percentile } from './table.ts';

/** What a change for many proxies cost, from the change to the last ACK. */
export interface Stage extends CpuUse {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lastMs: number;
  /** The longest for which the event loop, and so everybody else, had to wait. */
  readonly longestStallMs: number;
}

/** Makes a change, and waits until it is acknowledged so many times. */
export async function measureStage(
  acknowledgements: Acknowledgements,
  expected: number,
  postgresCpuMicros: () => number,
  change: () => void,
): Promise<Stage> {
  const stalls = monitorEventLoopDelay({ resolution: 1 });
  stalls.enable();
  const used = startCpuMeter(postgresCpuMicros);
  const acknowledged = acknowledgements.next(expected);
  const begin = performance.now();
  change();
  const latencies = (await acknowledged).map((at) => at - begin);
  stalls.disable();
  return {
    ...used(),
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    lastMs: Math.max(...latencies),
    longestStallMs: stalls.max / 1e6,
  };
}
