import { closeSync, opendirSync, openSync, readlinkSync, readSync } from 'node:fs';

/** Sockets that listen come first, whatever the number of connections: some 150 bytes each. */
const MAX_TABLE_BYTES = 256 * 1024;
const MAX_DESCRIPTORS = 4_096;
/** TCP_LISTEN (linux/include/net/tcp_states.h). */
const LISTENING = '0A';
/** Loopback and every address, as /proc/net/tcp writes them: words of 32 bits in the byte order of the machine. */
const LOCAL = {
  '127.0.0.1': { table: 'tcp', addresses: ['0100007F', '7F000001', '00000000'] },
  '::1': {
    table: 'tcp6',
    addresses: [
      '00000000000000000000000001000000',
      '00000000000000000000000000000001',
      '00000000000000000000000000000000',
    ],
  },
} as const;

/**
 * Whether the process has a socket open that listens on this port of loopback, in our own network namespace: what
 * connects there reaches it, or whoever shares that socket with it. By /proc alone, which answers from memory; false
 * where it can't be told.
 */
export function ownsListener(
  pid: number,
  host: keyof typeof LOCAL,
  port: number,
  procRoot = '/proc',
): boolean {
  try {
    const sockets = listenersOn(host, port, procRoot);
    return sockets.size > 0 && hasOpen(pid, sockets, procRoot);
  } catch {
    return false;
  }
}

/** Links of the sockets that listen there, as a descriptor shows them: `socket:[INODE]`. */
function listenersOn(host: keyof typeof LOCAL, port: number, procRoot: string): Set<string> {
  const { table, addresses } = LOCAL[host];
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const sockets = new Set<string>();
  for (const line of readHead(`${procRoot}/self/net/${table}`).split('\n')) {
    // proc_net(5): sl, local address, remote address, state, …, uid, timeout, inode.
    const fields = line.trim().split(/\s+/);
    const [address, localPort] = fields[1]?.split(':') ?? [];
    if (fields[3] !== LISTENING || localPort !== wanted) continue;
    if (addresses.some((local) => local === address)) sockets.add(`socket:[${fields[9]}]`);
  }
  return sockets;
}

function hasOpen(pid: number, sockets: ReadonlySet<string>, procRoot: string): boolean {
  const path = `${procRoot}/${pid}/fd`;
  const directory = opendirSync(path);
  try {
    for (let count = 0; count < MAX_DESCRIPTORS; count++) {
      const entry = directory.readSync();
      if (entry === null) return false;
      if (sockets.has(linkOf(`${path}/${entry.name}`))) return true;
    }
    return false;
  } finally {
    directory.closeSync();
  }
}

/** Empty for a descriptor that was closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function readHead(path: string): string {
  const descriptor = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(MAX_TABLE_BYTES);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = readSync(descriptor, buffer, length, buffer.length - length, null);
    return buffer.toString('latin1', 0, length);
  } finally {
    closeSync(descriptor);
  }
}
