import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const BOOT_ID = '6f1c9a52-0c7e-4b51-8f0e-2a4b9d3c7e10';

export interface ProcFiles {
  readonly name: string | Buffer;
  readonly state: string;
  readonly startTicks: number;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly cgroup: string;
  readonly exe: string;
}

const FILES: ProcFiles = {
  name: 'web',
  state: 'S',
  startTicks: 4242,
  uid: 1000,
  gid: 1000,
  groups: [1000, 27],
  cgroup: '0::/system.slice/web.service\n',
  exe: process.execPath,
};

/** A directory in the shape of procfs, with the processes that a test writes to it. */
export class ProcTree {
  readonly root = mkdtempSync(join(tmpdir(), 'carnet-proc-'));

  constructor(uidMap = '         0          0 4294967295\n') {
    this.#write('sys/kernel/random/boot_id', `${BOOT_ID}\n`);
    this.#write('sys/kernel/overflowuid', '65534\n');
    this.#write('self/uid_map', uidMap);
  }

  /** Writes a process, over what was there, with fields in the kernel's own order and spacing. */
  write(pid: number, changes: Partial<ProcFiles> = {}): void {
    const { name, state, startTicks, uid, gid, groups, cgroup, exe } = { ...FILES, ...changes };
    const between = Array(18).fill('0').join(' ');
    this.#write(
      `${pid}/stat`,
      Buffer.concat([
        Buffer.from(`${pid} (`),
        Buffer.from(name),
        Buffer.from(`) ${state} ${between} ${startTicks} 3133440 383 0\n`),
      ]),
    );
    this.#write(
      `${pid}/status`,
      `Name:\tweb\nUmask:\t0022\nUid:\t7\t${uid}\t8\t9\nGid:\t7\t${gid}\t8\t9\nFDSize:\t64\nGroups:\t${groups.join(' ')} \nNStgid:\t${pid}\n`,
    );
    this.#write(`${pid}/cgroup`, cgroup);
    rmSync(join(this.root, `${pid}/exe`), { force: true });
    symlinkSync(exe, join(this.root, `${pid}/exe`));
  }

  /** Writes one file of a process as it is. */
  writeFile(pid: number, file: string, contents: string): void {
    this.#write(`${pid}/${file}`, contents);
  }

  /** Says which PID namespace it is of, and how it is mounted; by default that it shows all processes. */
  mounted(namespace = 'pid:[4026531836]', options = 'rw,nosuid,nodev,noexec,relatime'): void {
    this.#write('self/mounts', `proc ${this.root} proc ${options} 0 0\n`);
    mkdirSync(join(this.root, 'self/ns'));
    symlinkSync(namespace, join(this.root, 'self/ns/pid'));
  }

  /** The process ends, and is reaped. */
  end(pid: number): void {
    rmSync(join(this.root, String(pid)), { recursive: true });
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  #write(path: string, contents: string | Buffer): void {
    mkdirSync(join(this.root, path, '..'), { recursive: true });
    writeFileSync(join(this.root, path), contents);
  }
}
