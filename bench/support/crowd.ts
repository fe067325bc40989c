import { openWorkload } from './workload-stream.ts';

/** Workloads that connect to one socket at once, and stay. */
export interface Crowd {
  /** Until each had its first SVID, from its call on: the connection included. In the order of the workloads. */
  readonly firstMs: readonly number[];
  /** Resolves when each has another SVID than it has now. */
  renewed(): Promise<void>;
  close(): void;
}

/** Resolves when all have an SVID. Rejects when a stream ends before `close()`. */
export async function connectCrowd(socket: string, count: number): Promise<Crowd> {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  const serials = Array.from({ length: count }, () => '');
  let waiting = 0;
  let done: () => void = () => undefined;
  const renewed = (): Promise<void> => {
    const all = Promise.withResolvers<void>();
    [waiting, done] = [count, all.resolve];
    return Promise.race([all.promise, failed.promise]);
  };
  const firstMs: number[] = [];
  const first = renewed();
  const begin = performance.now();
  const streams = serials.map((_, number) =>
    openWorkload(
      socket,
      ({ serial }) => {
        if (serial === serials[number]) return;
        firstMs[number] ??= performance.now() - begin;
        serials[number] = serial;
        if (--waiting === 0) done();
      },
      (why) => failed.reject(new Error(`a workload's stream ended: ${why}`)),
    ),
  );
  await first;
  return {
    firstMs,
    renewed,
    close: () => {
      for (const stream of streams) stream.close();
    },
  };
}
