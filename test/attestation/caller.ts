import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, constants, copyFileSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const NOBODY = 65_534;
export const IS_ROOT = process.getuid?.() === 0;

/** What a child process runs: connects, says so, and then does what it is told. */
const CALLER = `
  const socket = require('node:net').connect(process.argv[1], () => console.log('connected'));
  socket.on('error', (error) => console.log(error.code));
  socket.on('close', () => console.log('closed'));
  const does = {
    drop: () => { process.setgid(${NOBODY}); process.setuid(${NOBODY}); console.log('dropped'); },
    hangUp: () => socket.destroy(),
  };
  require('node:readline').createInterface(process.stdin).on('line', (line) => does[line]());
`;

/** A directory that every user may enter, with a copy of Node in it that every user may run. */
export class PublicDirectory {
  readonly path = realpathSync(mkdtempSync(join(tmpdir(), 'carnet-callers-')));
  readonly node = join(this.path, 'node');

  constructor() {
    chmodSync(this.path, 0o755);
    copyFileSync(process.execPath, this.node, constants.COPYFILE_FICLONE);
    chmodSync(this.node, 0o755);
  }

  /** Listens without taking anything from a connection. */
  async listen(name: string): Promise<{ path: string; server: Server; accepted(): Promise<Socket> }> {
    const path = join(this.path, name);
    const server = createServer({ pauseOnConnect: true });
    server.listen({ path, readableAll: true, writableAll: true });
    await once(server, 'listening');
    return { path, server, accepted: async () => (await once(server, 'connection'))[0] as Socket };
  }

  /** Starts a process that connects to a socket; `uid` is user and group, and needs root. */
  call(socketPath: string, uid?: number): Caller {
    return new Caller(this.node, socketPath, uid);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A process of its own that has a socket open. */
export class Caller {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(node: string, socketPath: string, uid?: number) {
    const child = spawn(node, ['-e', CALLER, socketPath], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {},
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    this.process = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  /** The next thing that it says. */
  async says(): Promise<string> {
    return (await this.#lines.next()).value ?? 'ended';
  }

  tell(what: 'drop' | 'hangUp'): void {
    this.process.stdin?.write(`${what}\n`);
  }

  /** Ends it and waits until the kernel has nothing left of it. */
  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await exited;
  }
}
