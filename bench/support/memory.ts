import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Long enough for V8 to see that little happens and to give back what it took while much did. */
const REST_MS = 10_000;

/** Memory of this process at rest. */
export interface Memory {
  /** As the kernel has it: all that is in use, and what V8 and malloc keep for the next time. Bytes. */
  readonly resident: number;
  /** In use on V8's heap, and what objects there hold outside of it. Bytes. */
  readonly heap: number;
}

/** Collects all garbage, lets the process rest for 10 s, and looks. */
export async function memoryAtRest(): Promise<Memory> {
  collectGarbage();
  await sleep(REST_MS);
  collectGarbage();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss, heap: heapUsed + external };
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
