import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 25;
/** On a machine that does much else besides. Less than the five minutes after which AVA gives up what says nothing. */
const TIMEOUT_MS = 110_000;

/** Waits for what nothing tells of, by looking again and again; resolves to the first answer that isn't false or null. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    const found = await look();
    if (found !== false && found !== null && found !== undefined)
      return found as Exclude<T, false | null | undefined>;
    if (performance.now() > deadline) throw new Error(`waited ${TIMEOUT_MS} ms in vain until ${what}`);
    await pause(POLL_MS);
  }
}
