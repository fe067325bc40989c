import type { Logger } from '../log.ts';

/** From Ctrl-C on. Longer than all the parts together may take to stop. */
const STOP_DEADLINE_MS = 30_000;

/**
 * Starts something, and stops it in order at SIGINT or SIGTERM; a second one ends the process at once. `start` is given up
 * by its signal.
 */
export async function runUntilInterrupted(
  log: Logger,
  start: (signal: AbortSignal) => Promise<{ close(): Promise<void> }>,
): Promise<void> {
  const interrupt = new AbortController();
  const interrupted = new Promise<void>((resolve) =>
    interrupt.signal.addEventListener('abort', () => resolve()),
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      if (interrupt.signal.aborted) process.exit(1);
      log.info('stopping; Ctrl-C again to stop at once');
      setTimeout(() => {
        log.fatal('the parts did not stop in time');
        process.exit(1);
      }, STOP_DEADLINE_MS).unref();
      interrupt.abort();
    });
  let running: { close(): Promise<void> };
  try {
    running = await start(interrupt.signal);
  } catch (error) {
    if (interrupt.signal.aborted) return;
    throw error;
  }
  await interrupted;
  await running.close();
}
