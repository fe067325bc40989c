import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Carries each connection on to the agent, after it has become another user for good. */
const RELAY = `
  const { connect, createServer } = require('node:net');
  const [path, agent, id] = process.argv.slice(1);
  createServer((socket) => {
    const onward = connect(agent);
    for (const [from, to] of [[socket, onward], [onward, socket]])
      from.on('error', () => undefined).on('close', () => to.destroy()).pipe(to);
  }).listen(path, () => {
    process.setgroups([]);
    process.setgid(Number(id));
    process.setuid(Number(id));
    console.log('listening');
  });
`;

/** A process of another user, through which a test speaks to the agent: to the kernel, and so to Carnet, it is the caller. */
export interface Stranger extends AsyncDisposable {
  readonly pid: number;
  /** Connect here instead of to the agent's socket. */
  readonly path: string;
}

/** `id` is user and group. Needs root. */
export async function startStranger(agentSocket: string, id: number): Promise<Stranger> {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-stranger-'));
  await chmod(directory, 0o755);
  const path = join(directory, 'relay.sock');
  const child = spawn(process.execPath, ['-e', RELAY, path, agentSocket, String(id)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return {
    pid: child.pid ?? -1,
    path,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await rm(directory, { recursive: true, force: true });
    },
  };
}
