import { setTimeout as sleep } from 'node:timers/promises';
import { isRetryable } from '../errors.ts';
import type { Logger } from '../log.ts';

const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 10_000;

/** Runs `work` again and again while it fails for what may pass, with back-off. */
export async function untilDatabaseAnswers(
  log: Logger,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  for (let delayMs = RETRY_MIN_MS; ; delayMs = Math.min(RETRY_MAX_MS, delayMs * 2)) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (!isRetryable(error)) throw error;
      log.warn({ reason: (error as Error).message }, 'what the start needs cannot be used yet; trying again');
    }
    await sleep(delayMs * (0.5 + Math.random() / 2), undefined, { signal });
  }
}
