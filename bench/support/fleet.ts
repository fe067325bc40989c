import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Message } from './proxies.ts';

const PROGRAM = join(import.meta.dirname, 'proxies.ts');

/** Proxies, all in a process of their own. Should one fail, the benchmark ends as if interrupted. */
export interface Fleet {
  readonly pid: number;
  /** Has so many connect to the socket at once. To be called once. */
  connect(socket: string, count: number): void;
  /** How many of them hold each of these texts in one of their secrets. */
  holders(texts: readonly string[]): Promise<number[]>;
  /** Ends them, and resolves when the process has ended. */
  stop(): Promise<void>;
}

export function startFleet(): Fleet {
  const child = fork(PROGRAM);
  const exited = once(child, 'exit');
  child.once('exit', (code) => {
    if (code !== 0) process.kill(process.pid, 'SIGTERM');
  });
  const send = (message: Message): void => void child.send(message);
  return {
    pid: child.pid ?? -1,
    connect: (socket, count) => send({ kind: 'connect', socket, count }),
    holders: async (texts) => {
      const answered = once(child, 'message') as Promise<[number[]]>;
      send({ kind: 'count', texts });
      return (await answered)[0];
    },
    stop: async () => {
      child.disconnect();
      await exited;
    },
  };
}
