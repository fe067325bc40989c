import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ServerOptions } from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import { TestClient } from './harness.ts';

export interface Measure {
  /** Bytes, after a garbage collection. */
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  /** Streams and fetches open. */
  readonly open: number;
  /** Of the bundle. */
  readonly sequence: number;
}

/** The service in a process of its own, to be attacked. */
export interface Victim {
  readonly socket: string;
  /** Makes this many updates of the bundle first. */
  measure(updates?: number): Promise<Measure>;
  /** A good client gets its secret: resolves to the milliseconds that it took. */
  serves(): Promise<number>;
}

export async function startVictim(t: ExecutionContext, options: ServerOptions = {}): Promise<Victim> {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-sds-'));
  const socket = join(directory, 'agent.sock');
  const child = fork(resolve(import.meta.dirname, 'served.ts'), [socket, JSON.stringify(options)], {
    execArgv: ['--expose-gc'],
  });
  t.teardown(async () => {
    child.kill();
    if (child.exitCode === null) await once(child, 'exit');
    rmSync(directory, { recursive: true });
  });
  await once(child, 'message');
  return {
    socket,
    measure: async (updates = 0) => {
      child.send({ updates });
      const [measure] = await once(child, 'message');
      return measure as Measure;
    },
    serves: async () => {
      const client = new TestClient(socket, 'web');
      const begin = performance.now();
      await client.fetch('default', 'ROOTCA');
      client.close();
      return performance.now() - begin;
    },
  };
}
