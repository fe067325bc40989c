import { once } from 'node:events';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Clock } from '../clock.ts';
import { CarnetError, type ErrorCode } from '../errors.ts';
import { readSecretFile } from '../secret-file.ts';
import { retryAfterMs } from './back-off.ts';
import type { Batch } from './batch.ts';
import { failed, SEND_TIMEOUT_MS, type SendFailure, type Sink } from './sink.ts';
import { readTlsFiles, type TlsFiles } from './tls-files.ts';
import { signWebhook } from './webhook-signature.ts';

export interface WebhookOptions {
  readonly url: URL;
  readonly secretFile: string;
  readonly tls: TlsFiles;
  /** The log's name. */
  readonly log: string;
  readonly clock: Clock;
  readonly timeoutMs?: number;
}

const MIN_SECRET_CHARACTERS = 32;
/** An answer's body says nothing that counts: so much of it is read at most. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** What the receiver says of the batch itself: malformed, too large, or not to its liking. */
const REFUSALS: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid_argument',
  413: 'too_large',
  422: 'invalid_argument',
};
const FAILURES: Readonly<Record<number, ErrorCode>> = {
  401: 'permission_denied',
  403: 'permission_denied',
  408: 'timeout',
  429: 'overloaded',
  503: 'overloaded',
};

/** Posts batches as lines of JSON; an answer of 2xx acknowledges one. Each on a connection of its own. */
export function createWebhook(options: WebhookOptions): Sink {
  const { url, timeoutMs = SEND_TIMEOUT_MS } = options;
  return {
    name: 'webhook',
    mayForget: false,
    // Whatever follows may be secret.
    target: url.origin,
    send: async (batch, signal) => {
      const late = AbortSignal.timeout(timeoutMs);
      try {
        return judge(await post(options, batch, AbortSignal.any([signal, late])), options.clock());
      } catch (error) {
        return failed(errorOf(error, late, signal, timeoutMs));
      }
    },
  };
}

/** Throws `config_invalid` where the files can't be used. */
export async function checkWebhook({
  secretFile,
  tls,
}: Pick<WebhookOptions, 'secretFile' | 'tls'>): Promise<void> {
  await readTlsFiles(tls);
  await readSecret(secretFile);
}

async function post(options: WebhookOptions, batch: Batch, signal: AbortSignal): Promise<IncomingMessage> {
  const { url, secretFile, tls, log, clock } = options;
  const body = Buffer.from(batch.lines.map((line) => `${line}\n`).join(''), 'latin1');
  const timestamp = Math.floor(clock() / 1000);
  const headers = {
    'content-type': 'application/x-ndjson',
    'content-length': body.length,
    'carnet-log': log,
    'carnet-first-leaf': batch.first,
    'carnet-last-leaf': batch.end - 1,
    'carnet-timestamp': timestamp,
    'carnet-signature': signWebhook(await readSecret(secretFile), timestamp, body),
  };
  const request =
    url.protocol === 'https:'
      ? requestHttps(url, { ...(await readTlsFiles(tls)), method: 'POST', agent: false, headers, signal })
      : requestHttp(url, { method: 'POST', agent: false, headers, signal });
  // After the answer has begun, its own stream tells of failures.
  request.on('error', () => undefined);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  await drain(response);
  return response;
}

/** The answer is whole when its body is. */
async function drain(response: IncomingMessage): Promise<void> {
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) break;
  }
  response.destroy();
}

function judge({ statusCode = 0, headers }: IncomingMessage, now: number): SendFailure | null {
  if (statusCode >= 200 && statusCode < 300) return null;
  if (statusCode >= 300 && statusCode < 400)
    return failed(new CarnetError('unavailable', `it redirects (${statusCode}), which is not followed`));
  const refusal = REFUSALS[statusCode];
  const error = new CarnetError(refusal ?? FAILURES[statusCode] ?? 'unavailable', `it answers ${statusCode}`);
  return {
    error,
    isRefused: refusal !== undefined,
    retryAfterMs: retryAfterMs(headers['retry-after'], now),
  };
}

function errorOf(error: unknown, late: AbortSignal, signal: AbortSignal, timeoutMs: number): CarnetError {
  if (error instanceof CarnetError) return error;
  const options = { cause: error };
  if (signal.aborted) return new CarnetError('shutting_down', 'the server is stopping', options);
  if (late.aborted) return new CarnetError('timeout', `no acknowledgement within ${timeoutMs} ms`, options);
  return new CarnetError('unavailable', (error as Error).message, options);
}

async function readSecret(path: string): Promise<string> {
  const secret = (await readSecretFile(path)).trim();
  if (secret.length < MIN_SECRET_CHARACTERS)
    throw new CarnetError(
      'config_invalid',
      `${path} has less than ${MIN_SECRET_CHARACTERS} characters: openssl rand -hex 32 makes a secret`,
    );
  return secret;
}
