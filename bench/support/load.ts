import { nodeCpuMicros } from './cpu.ts';
import { percentile } from './table.ts';

/** What one stretch of load cost. */
export interface Measured {
  readonly perSecond: number;
  /** CPU time an operation, of this process and of PostgreSQL. */
  readonly nodeMicros: number;
  readonly postgresMicros: number;
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
  const [node, postgres] = [nodeCpuMicros(), postgresCpuMicros()];
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
    nodeMicros: (nodeCpuMicros() - node) / number,
    postgresMicros: (postgresCpuMicros() - postgres) / number,
    p99Ms: percentile(latencies, 0.99),
  };
}

/** The same of what is done at once, without a turn of the event loop in between. */
export function loadAtOnce(operation: () => unknown, seconds: number): Measured {
  const OPERATIONS_BETWEEN_LOOKS = 100;
  const begin = performance.now();
  const node = nodeCpuMicros();
  let number = 0;
  while (performance.now() < begin + seconds * 1000)
    for (let i = 0; i < OPERATIONS_BETWEEN_LOOKS; i++, number++) operation();
  const elapsedMs = performance.now() - begin;
  return {
    perSecond: (number * 1000) / elapsedMs,
    nodeMicros: (nodeCpuMicros() - node) / number,
    postgresMicros: 0,
    p99Ms: Number.NaN,
  };
}
