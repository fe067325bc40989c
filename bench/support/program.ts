import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** A program that says when it is ready, and ends with its standard input. */
export interface Program extends AsyncDisposable {
  readonly pid: number;
}

export interface ProgramOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Where it does not end with its standard input. */
  readonly signal?: NodeJS.Signals;
}

/** Resolves when it has written `ready`. Rejects when it ends before. */
export async function startProgram(
  [file, ...args]: readonly [string, ...string[]],
  { env = {}, signal }: ProgramOptions = {},
): Promise<Program> {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } });
  const exited = once(child, 'exit');
  const end = (): void => void child.kill('SIGKILL');
  process.once('exit', end);
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (text: Buffer) => {
      if (text.includes('ready')) resolve();
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${file} ${args[0]} ended with ${code}`)));
  });
  return {
    pid: child.pid ?? -1,
    [Symbol.asyncDispose]: async () => {
      process.off('exit', end);
      if (signal !== undefined) child.kill(signal);
      child.stdin.end();
      await exited;
    },
  };
}
