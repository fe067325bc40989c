import { CarnetError } from '../errors.ts';
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

/**
 * What `work` comes to, unless Ctrl-C or SIGTERM comes first: then throws `shutting_down`, at once, and `work` ends with
 * whatever it stands on, which the caller closes. A second one ends the process.
 */
export async function unlessInterrupted<T>(work: () => Promise<T>): Promise<T> {
  const { promise: interrupted, reject } = Promise.withResolvers<never>();
  const interrupt = (): void => {
    process.once('SIGINT', end).once('SIGTERM', end);
    reject(new CarnetError('shutting_down', 'interrupted: nothing was shown, and nothing is kept of it'));
  };
  const end = (): never => process.exit(1);
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const working = work();
  // Once it is interrupted, nobody waits for how it fails.
  working.catch(() => undefined);
  try {
    return await Promise.race([working, interrupted]);
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}
