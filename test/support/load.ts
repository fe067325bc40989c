import { X509Certificate } from 'node:crypto';
import { Agent, get, type IncomingHttpHeaders } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';

/** What a stretch of traffic through a pair of Envoys showed. */
export interface LoadStats {
  handshakes: number;
  failures: number;
  /** The first few failures, in words. */
  readonly errors: string[];
  /** Serials (lower-case hex) that each side presented to the other. */
  readonly clientSerials: Set<string>;
  readonly serverSerials: Set<string>;
}

export const SERVER_CERTIFICATE_HEADER = 'x-server-certificate';
export const CLIENT_SERIAL_HEADER = 'x-client-serial';

/** Requests, each on a TLS connection of its own between the Envoys, to each port in turn at a fixed rate until stopped. */
export interface Load {
  readonly stats: LoadStats;
  /** Resolves when the last answer is in. */
  stop(): Promise<void>;
}

/** Slow is not failed. */
const REQUEST_TIMEOUT_MS = 60_000;
const ERRORS_KEPT = 5;
const UNDER_WAY_LIMIT = 200;

export function startLoad(ports: number | readonly number[], perSecond: number): Load {
  const [...targets] = [ports].flat();
  const stats: LoadStats = {
    handshakes: 0,
    failures: 0,
    errors: [],
    clientSerials: new Set(),
    serverSerials: new Set(),
  };
  const agent = new Agent({ keepAlive: true, maxSockets: UNDER_WAY_LIMIT });
  const underWay = new Set<Promise<void>>();
  let running = true;
  const loop = (async () => {
    const begin = performance.now();
    for (let i = 0; running; i++) {
      await pause(Math.max(0, begin + (i * 1000) / perSecond - performance.now()));
      if (underWay.size >= UNDER_WAY_LIMIT) continue;
      const port = targets[i % targets.length] ?? 0;
      const one = request(agent, port, stats).finally(() => underWay.delete(one));
      underWay.add(one);
    }
    await Promise.all(underWay);
    agent.destroy();
  })();
  return {
    stats,
    stop: () => {
      running = false;
      return loop;
    },
  };
}

/** Stops it, and asserts that every handshake succeeded. */
export async function assertNoneFailed(t: ExecutionContext, load: Load): Promise<void> {
  await load.stop();
  const { handshakes, failures, errors } = load.stats;
  t.log(`${handshakes} handshakes, ${failures} failed`);
  t.deepEqual(errors, []);
  t.is(failures, 0);
  t.true(handshakes > 0);
}

async function request(agent: Agent, port: number, stats: LoadStats): Promise<void> {
  try {
    const headers = await headersOf(agent, port);
    stats.handshakes++;
    stats.clientSerials.add(serialOf(String(headers[CLIENT_SERIAL_HEADER])));
    const pem = decodeURIComponent(String(headers[SERVER_CERTIFICATE_HEADER]));
    stats.serverSerials.add(serialOf(new X509Certificate(pem).serialNumber));
  } catch (error) {
    stats.failures++;
    if (stats.errors.length < ERRORS_KEPT)
      stats.errors.push(error instanceof Error ? error.message : String(error));
  }
}

/** The headers of a 200; Envoy says in the body of anything else what went wrong. */
function headersOf(agent: Agent, port: number): Promise<IncomingHttpHeaders> {
  return new Promise((resolve, reject) => {
    const call = get(
      { agent, host: '127.0.0.1', port, path: '/', timeout: REQUEST_TIMEOUT_MS },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body = (body + text).slice(0, 500);
        });
        response.on('end', () => {
          if (response.statusCode === 200) resolve(response.headers);
          else reject(new Error(`HTTP ${response.statusCode} ${body}`));
        });
      },
    );
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('error', reject);
  });
}

/** As Carnet writes it: 32 digits, lower case. Other programs leave leading zeros out. */
function serialOf(hex: string): string {
  return hex.toLowerCase().padStart(32, '0');
}
