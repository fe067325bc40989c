import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const START_TIMEOUT_MS = 110_000;
const STOP_TIMEOUT_MS = 5_000;
const POLL_MS = 20;
/** Envoy's own words that are kept, from their end. */
const LOG_CHARACTERS = 1 << 20;

/** A real Envoy in a process of its own. */
export interface EnvoyProcess {
  readonly pid: number;
  readonly adminPort: number;
  /** What it wrote so far. */
  logs(): string;
  /** The body of an admin page, for example `/certs`. Throws for anything but 200. */
  admin(path: string): Promise<string>;
  /** The port that a listener was given. */
  listenerPort(name: string): Promise<number>;
  /** Resolves when it serves: all its listeners have the secrets that they need, or have given up waiting. */
  ready(): Promise<void>;
  /** SIGTERM, then after 5 s SIGKILL; resolves when it has ended. */
  stop(): Promise<void>;
}

export interface EnvoyStart {
  /** Bootstrap configuration. */
  readonly config: object;
  /** Another path of the same executable, for one that is to be known by its path. */
  readonly binary?: string | undefined;
}

/** The path of Envoy's binary, or undefined where the tests' environment isn't given. */
export function envoyBinary(): string | undefined {
  const venv = process.env.CARNET_TEST_VENV;
  return venv === undefined ? undefined : globSync(`${venv}/lib/python3*/site-packages/envoy/_bin/envoy`)[0];
}

/**
 * Starts Envoy with this bootstrap configuration and resolves when its admin interface answers. Without an
 * `admin` of its own it gets one on 127.0.0.1; ports may be 0 everywhere. Several run beside each other.
 */
export async function startEnvoy({ config, binary = envoyBinary() }: EnvoyStart): Promise<EnvoyProcess> {
  if (binary === undefined) throw new Error('this test needs Envoy: run it as npm test -- <file>');
  const directory = mkdtempSync(join(tmpdir(), 'carnet-envoy-'));
  const configPath = join(directory, 'envoy.json');
  const addressPath = join(directory, 'admin-address');
  writeFileSync(configPath, JSON.stringify({ admin: { address: loopback() }, ...config }));
  const child = spawn(
    binary,
    [
      ...['--config-path', configPath, '--admin-address-path', addressPath],
      ...['--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'],
    ],
    // A terminal's Ctrl-C is for whoever started it, who then stops it in order.
    { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  );
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-LOG_CHARACTERS);
    });
  const stop = (): Promise<void> =>
    stopProcess(child).finally(() => rmSync(directory, { recursive: true, force: true }));
  try {
    await until(() => existsSync(addressPath) && readFileSync(addressPath, 'utf8') !== '', child);
    const adminPort = Number(readFileSync(addressPath, 'utf8').split(':').at(-1));
    const admin = (path: string): Promise<string> => adminPage(adminPort, path);
    await until(() => answers(adminPort, '/server_info'), child);
    return {
      pid: child.pid ?? -1,
      adminPort,
      logs: () => log,
      admin,
      listenerPort: async (name) => portOf(name, await admin('/listeners?format=json')),
      ready: () => until(() => answers(adminPort, '/ready'), child),
      stop,
    };
  } catch (error) {
    await stop();
    throw new Error(`Envoy did not start: ${log}`, { cause: error });
  }
}

/** An address for a listener on a free port of 127.0.0.1. */
export function loopback(): object {
  return { socket_address: { address: '127.0.0.1', port_value: 0 } };
}

async function adminPage(port: number, path: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  const body = await response.text();
  if (!response.ok) throw new Error(`Envoy's ${path} answers ${response.status}: ${body}`);
  return body;
}

async function answers(port: number, path: string): Promise<boolean> {
  return adminPage(port, path).then(
    () => true,
    () => false,
  );
}

function portOf(name: string, listeners: string): number {
  const { listener_statuses: statuses = [] } = JSON.parse(listeners) as {
    listener_statuses?: { name: string; local_address: { socket_address: { port_value: number } } }[];
  };
  const found = statuses.find((each) => each.name === name);
  if (found === undefined) throw new Error(`Envoy has no listener ${name} (yet)`);
  return found.local_address.socket_address.port_value;
}

/** Polls, as Envoy tells nobody when it gets there; fails when the process ends, or after almost two minutes. */
async function until(condition: () => boolean | Promise<boolean>, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await condition())) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('Envoy ended');
    if (Date.now() > deadline) throw new Error(`Envoy took more than ${START_TIMEOUT_MS} ms`);
    await pause(POLL_MS);
  }
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const giveUp = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(giveUp);
}
