import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { CarnetError } from '../errors.ts';

export interface JsonRequest {
  /** `http:` or `https:`; on a Unix socket only its path and query count. */
  readonly url: URL;
  readonly socketPath?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whom to believe, PEM; by default the system's roots. */
  readonly ca?: string;
  /** From the request to the answer's last byte. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export interface JsonAnswer {
  readonly status: number;
  /** Undefined where the body isn't JSON. */
  readonly json: unknown;
}

/**
 * Asks for one JSON document, in bounded time and of bounded size; follows no redirect. Throws `unavailable`,
 * `timeout`, `too_large`, all naming the address.
 */
export async function getJson(options: JsonRequest): Promise<JsonAnswer> {
  const { timeoutMs, maxBytes } = options;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await ask(options, signal);
  } catch (cause) {
    if (cause instanceof CarnetError) throw cause;
    if (signal.aborted)
      throw new CarnetError('timeout', `${nameOf(options)} did not answer within ${timeoutMs} ms`, { cause });
    throw new CarnetError('unavailable', `${nameOf(options)} can't be reached: ${reasonOf(cause)}`, {
      cause,
    });
  }

  async function ask(
    { url, socketPath, headers, ca }: JsonRequest,
    signal: AbortSignal,
  ): Promise<JsonAnswer> {
    const request = url.protocol === 'https:' ? requestHttps : requestHttp;
    const { promise, resolve, reject } = Promise.withResolvers<JsonAnswer>();
    const outgoing = request(url, {
      signal,
      headers: { accept: 'application/json', ...headers },
      ...(socketPath !== undefined && { socketPath }),
      ...(ca !== undefined && { ca, minVersion: 'TLSv1.2' }),
    });
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size <= maxBytes) chunks.push(chunk);
        else
          response.destroy(
            new CarnetError('too_large', `${nameOf(options)} answers with more than ${maxBytes} bytes`),
          );
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, json: parsed(Buffer.concat(chunks).toString('utf8')) }),
      );
    });
    outgoing.end();
    return promise;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Without the query, which could hold what no log should. */
function nameOf({ url, socketPath }: JsonRequest): string {
  return socketPath ?? `${url.origin}${url.pathname}`;
}

function reasonOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  return message === '' ? String(code) : message;
}
