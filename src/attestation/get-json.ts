import { type IncomingMessage, request as requestHttp } from 'node:http';
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
export async function getJson(request: JsonRequest): Promise<JsonAnswer> {
  const { timeoutMs } = request;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await ask(request, signal);
  } catch (cause) {
    if (cause instanceof CarnetError) throw cause;
    if (signal.aborted)
      throw new CarnetError('timeout', `${nameOf(request)} did not answer within ${timeoutMs} ms`, { cause });
    throw new CarnetError('unavailable', `${nameOf(request)} can't be reached: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

async function ask(request: JsonRequest, signal: AbortSignal): Promise<JsonAnswer> {
  const { url, socketPath, headers, ca } = request;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, {
    signal,
    headers: { accept: 'application/json', ...headers },
    ...(socketPath !== undefined && { socketPath }),
    ...(ca !== undefined && { ca, minVersion: 'TLSv1.2' }),
  });
  outgoing.on('response', resolve);
  outgoing.on('error', reject);
  outgoing.end();
  const response = await promise;
  return { status: response.statusCode ?? 0, json: parsed(await readBody(response, request)) };
}

async function readBody(response: IncomingMessage, request: JsonRequest): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > request.maxBytes)
      throw new CarnetError(
        'too_large',
        `${nameOf(request)} answers with more than ${request.maxBytes} bytes`,
      );
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
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
