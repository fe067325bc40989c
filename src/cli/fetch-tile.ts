import { setTimeout as sleep } from 'node:timers/promises';
import type { ReadTile } from '../audit/log/checked-tiles.ts';
import { CarnetError } from '../errors.ts';

const TIMEOUT_MS = 30_000;
/** A server lets an address have 500 a second: whoever asks for more waits. */
const TRIES = 30;
const TOO_MANY = 429;
const MAX_WAIT_SECONDS = 10;

/** Tiles from whoever serves a log at `url`, such as `https://carnet.example/log` (C2SP tlog-tiles). */
export function tilesAt(url: string): ReadTile {
  const base = url.replace(/\/+$/, '');
  return async (path) => {
    for (let tries = 1; ; tries++) {
      const response = await fetch(`${base}/tile/${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(
        (error: unknown) => {
          throw new CarnetError('unavailable', `${base} can't be reached: ${(error as Error).message}`, {
            cause: error,
          });
        },
      );
      if (response.ok) return new Uint8Array(await response.arrayBuffer());
      await response.body?.cancel();
      if (response.status !== TOO_MANY || tries === TRIES)
        throw new CarnetError(
          'unavailable',
          `${base}/tile/${path} answers ${response.status}: is ${base} a log?`,
        );
      await sleep(1000 * Math.min(MAX_WAIT_SECONDS, Number(response.headers.get('retry-after') ?? 1)));
    }
  };
}
