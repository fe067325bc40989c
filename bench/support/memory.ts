import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import koffi from 'koffi';

/** Memory of this process at rest, in bytes. */
export interface Memory {
  /** Objects on V8's heap, and what was allocated and not freed outside of it. */
  readonly inUse: number;
  /**
   * As the kernel has it, at its lowest: besides what is in use, what V8 and malloc keep for the next time. V8
   * keeps up to 130 MB of young generation at its own discretion, whatever the number of connections.
   */
  readonly resident: number;
}

/** V8 gives memory back some 8 s after it has collected garbage, and not each time. */
const REST_SECONDS = 20;

/** Collects all garbage, and looks while the process rests. */
export async function memoryAtRest(): Promise<Memory> {
  collectGarbage();
  let resident = Number.POSITIVE_INFINITY;
  for (let second = 0; second < REST_SECONDS; second++) {
    await sleep(1000);
    resident = Math.min(resident, process.memoryUsage.rss());
  }
  collectGarbage();
  // What was found to be garbage is freed by other threads.
  await sleep(1000);
  const { uordblks, hblkhd } = mallinfo2();
  return { inUse: process.memoryUsage().heapUsed + uordblks + hblkhd, resident };
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Of glibc 2.33 and later: the C library's own account (mallinfo(3)), in use from its heaps and from mmap. */
const MALLINFO = koffi.struct('mallinfo2', {
  arena: 'size_t',
  ordblks: 'size_t',
  smblks: 'size_t',
  hblks: 'size_t',
  hblkhd: 'size_t',
  usmblks: 'size_t',
  fsmblks: 'size_t',
  uordblks: 'size_t',
  fordblks: 'size_t',
  keepcost: 'size_t',
});
const mallinfo2 = koffi.load(null).func('mallinfo2', MALLINFO, []) as () => {
  uordblks: number;
  hblkhd: number;
};
