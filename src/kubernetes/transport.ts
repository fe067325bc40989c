import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { CarnetError } from '../errors.ts';
import type { ClusterAccess } from './access.ts';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH';
  /** From the root, with its query. */
  readonly path: string;
  readonly body?: { readonly type: string; readonly json: unknown };
  readonly signal: AbortSignal;
}

/** Connections are kept, and are few: what does not fit waits within its own time. */
const MAX_SOCKETS = 16;
/** A silent connection is probed after this time, and given up 10 s later: else a watch would not notice a dead peer. */
const PROBE_AFTER_MS = 30_000;

/** One HTTPS request to the API server after another, over connections that are kept. */
export class Transport {
  readonly #access: ClusterAccess;
  readonly #agent: Agent;

  constructor(access: ClusterAccess) {
    this.#access = access;
    this.#agent = new Agent({
      keepAlive: true,
      keepAliveMsecs: PROBE_AFTER_MS,
      maxSockets: MAX_SOCKETS,
      minVersion: 'TLSv1.2',
      ...(access.ca !== null && { ca: access.ca }),
      ...(access.clientCertificate !== null && {
        cert: access.clientCertificate.certPem,
        key: access.clientCertificate.keyPem,
      }),
    });
  }

  /** Resolves with the answer's head, whatever its status; its body is the caller's to read. Throws `unavailable`, `timeout`. */
  async send({ method, path, body, signal }: Call): Promise<IncomingMessage> {
    const token = await this.#access.token().catch((cause: unknown) => {
      throw new CarnetError('unavailable', 'Kubernetes: our service-account token cannot be read', { cause });
    });
    const text = body === undefined ? null : Buffer.from(JSON.stringify(body.json));
    return new Promise((resolve, reject) => {
      const outgoing = request(new URL(path, this.#access.server), {
        method,
        agent: this.#agent,
        signal,
        headers: {
          accept: 'application/json',
          'user-agent': 'carnet',
          ...(token !== null && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': body.type, 'content-length': text?.length }),
        },
      });
      outgoing.on('response', resolve);
      outgoing.on('error', (error) => reject(transportError(error)));
      outgoing.end(text);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The whole body, of at most so many bytes. Throws `unavailable`, `timeout`, `too_large`. */
export async function readBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > maxBytes)
        throw new CarnetError('too_large', `Kubernetes: an answer is longer than ${maxBytes} bytes`);
      parts.push(part);
    }
  } catch (error) {
    throw transportError(error);
  }
  return Buffer.concat(parts).toString('utf8');
}

export function transportError(error: unknown): CarnetError {
  if (error instanceof CarnetError) return error;
  const { name, message } = error as Error;
  return name === 'TimeoutError' || (name === 'AbortError' && /timeout/i.test(String((error as Error).cause)))
    ? new CarnetError('timeout', 'Kubernetes: the API server does not answer in time', { cause: error })
    : new CarnetError('unavailable', `Kubernetes: the API server cannot be reached: ${message}`, {
        cause: error,
      });
}
