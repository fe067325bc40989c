import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const PROGRAM = join(import.meta.dirname, 'proxies.ts');

/** Proxies that are connected to an agent, all in a process of their own. */
export interface Fleet {
  /** Ends them, and resolves when the process has ended. */
  stop(): Promise<void>;
}

/** Has so many proxies connect to the socket at once. Should one fail, the benchmark ends as if interrupted. */
export function startFleet(socket: string, count: number): Fleet {
  const child = fork(PROGRAM, [socket, String(count)]);
  const exited = once(child, 'exit');
  child.once('exit', (code) => {
    if (code !== 0) process.kill(process.pid, 'SIGTERM');
  });
  return {
    stop: async () => {
      child.disconnect();
      await exited;
    },
  };
}
