import { type CpuUse, startCpuMeter } from './cpu.ts';
import { percentile } from './table.ts';

/** What one stretch of load cost; the CPU time is an operation's. */
export interface Measured extends CpuUse {
  readonly perSecond: number;
  /** From an operation's begin to its end. */
  readonly p99Ms: number;
}

export interface LoadOptions {
  readonly concurrency: number;
  readonly seconds: number;
  readonly postgresCpuMicros: () => number;
}

/** A closed loop: `concurrency` callers, each of which begins its next operation when the last has ended. */
export async function load(
  operation: (number: number) => Promise<unknown>,
  { concurrency, seconds, postgresCpuMicros }: LoadOptions,
): Promise<Measured> {
  const latencies: number[] = [];
  const begin = performance.now();
  const used = startCpuMeter(postgresCpuMicros);
  const end = begin + seconds * 1000;
  let number = 0;
  const caller = async (): Promise<void> => {
    for (let at = performance.now(); at < end; at = performance.now()) {
      await operation(number++);
      latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  return {
    perSecond: (number * 1000) / (performance.now() - begin),
    ...ofEach(used(), number),
    p99Ms: percentile(latencies, 0.99),
  };
}

/** The same of what is done at once, without a turn of the event loop in between. */
export function loadAtOnce(operation: () => unknown, seconds: number): Measured {
  const OPERATIONS_BETWEEN_LOOKS = 100;
  const begin = performance.now();
  const used = startCpuMeter(() => 0);
  let number = 0;
  while (performance.now() < begin + seconds * 1000)
    for (let i = 0; i < OPERATIONS_BETWEEN_LOOKS; i++, number++) operation();
  const elapsedMs = performance.now() - begin;
  return { perSecond: (number * 1000) / elapsedMs, ...ofEach(used(), number), p99Ms: Number.NaN };
}

function ofEach({ nodeMicros, postgresMicros, othersCpus }: CpuUse, operations: number): CpuUse {
  return { nodeMicros: nodeMicros / operations, postgresMicros: postgresMicros / operations, othersCpus };
}
