import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const LOWEST = 10_240;
/** Each process has a slice of its own: a port that it names is its own also before anybody listens there. */
const SLICES = 512;

let asked = 0;

/**
 * A TCP port on 127.0.0.1 that nobody listens on now, for someone who can't be told to take any. It is below those
 * that the kernel gives to outgoing connections: one of these may be gone by the time it is listened on.
 */
export async function freePort(): Promise<number> {
  const width = Math.floor((firstEphemeralPort() - LOWEST) / SLICES);
  for (let tries = 0; tries < width; tries++) {
    const port = LOWEST + (process.pid % SLICES) * width + (asked++ % width);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port among the ${width} of this process`);
}

/** Where a machine leaves hardly any below, we take from them after all. */
function firstEphemeralPort(): number {
  const first = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s/)[0]);
  return Math.max(first, LOWEST + 10_000);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
