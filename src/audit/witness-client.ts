import { once } from 'node:events';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { CarnetError } from '../errors.ts';
import type { Witness } from './witness.ts';

/** From the first packet to the last byte. */
const ANSWER_TIMEOUT_MS = 10_000;
/** Some cosignatures: the largest kind has 2,432 bytes. */
const MAX_ANSWER_BYTES = 32_768;
/** A connection that is kept waits for the next checkpoint for so long. */
const KEEP_ALIVE_MS = 60_000;

/** Speaks HTTP with witnesses (C2SP tlog-witness), over connections that it keeps. */
export class WitnessClient implements Disposable {
  readonly #http = new HttpAgent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxSockets: 2 });
  readonly #https = new HttpsAgent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxSockets: 2 });
  readonly #closing = new AbortController();
  readonly #timeoutMs: number;

  constructor(timeoutMs = ANSWER_TIMEOUT_MS) {
    this.#timeoutMs = timeoutMs;
  }

  /** Ends what is under way. */
  [Symbol.dispose](): void {
    this.#closing.abort();
    this.#http.destroy();
    this.#https.destroy();
  }

  /** Redirects are not followed. Throws `unavailable`, `timeout`, `too_large`, and `shutting_down` once disposed of. */
  async post({ url }: Witness, body: string): Promise<{ status: number; body: string }> {
    const late = AbortSignal.timeout(this.#timeoutMs);
    const signal = AbortSignal.any([late, this.#closing.signal]);
    try {
      const response = await this.#sendKept(`${url}/add-checkpoint`, body, signal);
      try {
        return { status: response.statusCode ?? 0, body: await readText(response) };
      } finally {
        response.destroy();
      }
    } catch (error) {
      if (this.#closing.signal.aborted) throw new CarnetError('shutting_down', 'the server is stopping');
      if (late.aborted)
        throw new CarnetError('timeout', `it did not answer within ${this.#timeoutMs} ms`, { cause: error });
      if (error instanceof CarnetError) throw error;
      throw new CarnetError('unavailable', reasonOf(error), { cause: error });
    }
  }

  /** On a connection that the witness just closed, the request never arrived: it is sent once more, on a new one. */
  async #sendKept(url: string, body: string, signal: AbortSignal): Promise<IncomingMessage> {
    const first = this.#send(url, body, signal);
    try {
      return await first.response;
    } catch (error) {
      if (!first.call.reusedSocket || (error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
      return await this.#send(url, body, signal).response;
    }
  }

  #send(url: string, body: string, signal: AbortSignal) {
    const isTls = url.startsWith('https:');
    const call = (isTls ? httpsRequest : httpRequest)(url, {
      method: 'POST',
      agent: isTls ? this.#https : this.#http,
      signal,
      headers: {
        'content-type': 'text/plain; charset=utf-8',
        'content-length': Buffer.byteLength(body),
        'accept-encoding': 'identity',
      },
    });
    // After the answer has begun, its own stream tells of failures.
    call.on('error', () => undefined);
    call.end(body);
    return { call, response: once(call, 'response').then(([response]) => response as IncomingMessage) };
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES)
      throw new CarnetError('too_large', `its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Of a refused connection to each of several addresses, Node's own message is empty. */
function reasonOf(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException;
  return message || code || String(error);
}
