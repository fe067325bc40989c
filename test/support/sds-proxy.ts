import { fork } from 'node:child_process';
import { once } from 'node:events';
import { realpathSync } from 'node:fs';
import { join } from 'node:path';

/** What a proxy makes of the responses from now on, and of the one that it has not answered yet. */
export interface Command {
  readonly answer: 'nothing' | 'acknowledge' | 'reject';
  /** Of a rejection. */
  readonly message?: string;
  /** On a new stream. */
  readonly reconnect?: boolean;
}

/** A proxy that answers as it is told, in a process of its own: an instance of the fleet by itself. */
export interface SdsProxy extends AsyncDisposable {
  tell(command: Command): void;
  /** kill -9. */
  kill(): Promise<void>;
}

/** The selectors by which these proxies are known: by the executable that they run. */
export const SDS_PROXY_SELECTORS = [
  `unix:uid:${process.getuid?.()}`,
  `unix:path:${realpathSync(process.execPath)}`,
];

/** Resolves when it was sent its first secrets; it has answered them by `first`. */
export async function startSdsProxy(
  socket: string,
  node: string,
  first: Command['answer'],
): Promise<SdsProxy> {
  const program = join(import.meta.dirname, 'sds-proxy-process.ts');
  const child = fork(program, [socket, node], { execArgv: [] });
  const ended = once(child, 'exit');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  child.send({ answer: first } satisfies Command);
  await Promise.race([
    once(child, 'message'),
    ended.then(([code]) => {
      throw new Error(`the proxy ${node} ended with ${code}`);
    }),
  ]);
  return { tell: (command) => void child.send(command), kill, [Symbol.asyncDispose]: kill };
}
