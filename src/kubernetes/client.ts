import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { CarnetError, type ErrorCode, isRetryable } from '../errors.ts';
import type { ClusterAccess } from './access.ts';
import { type Call, readBody, Transport, transportError } from './transport.ts';

/** An answer other than one of success: `status` is HTTP's, and the message is the API server's own. */
export class ApiError extends CarnetError {
  readonly status: number;

  constructor(status: number, message: string) {
    super(codeOf(status), `Kubernetes: ${message}`);
    this.status = status;
  }
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

const REQUEST_TIMEOUT_MS = 15_000;
/** A page of 500 pods is some 5 MB. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
const MAX_ERROR_BYTES = 1024 * 1024;
/** Ours: four tries in about 3 s. Whoever needs longer has a loop of his own. */
const TRIES = 4;
const RETRY_MIN_MS = 200;
/** Who owns the fields that we apply (server-side apply). */
export const FIELD_MANAGER = 'carnet';

/**
 * A small client of the Kubernetes API: JSON over HTTPS, in bounded time, repeated with jitter where a repetition is
 * harmless. `@kubernetes/client-node` takes 83 MiB of memory and a second to load, and neither bounds nor resumes a
 * watch. Throws {@link ApiError} (`unauthenticated`, `permission_denied`, `not_found`, `already_exists`, `conflict`,
 * `invalid_argument`, `rate_limited`, `unavailable`), `timeout`, `too_large`.
 */
export class KubernetesClient {
  readonly #transport: Transport;
  readonly #random: () => number;

  /** `random` is uniform in [0, 1). */
  constructor(access: ClusterAccess, random: () => number) {
    this.#transport = new Transport(access);
    this.#random = random;
  }

  get(path: string, query: Query = {}): Promise<unknown> {
    return this.#ask({ method: 'GET', path: path + encodeQuery(query) }, true);
  }

  create(path: string, object: object): Promise<unknown> {
    return this.#ask({ method: 'POST', path, body: { type: 'application/json', json: object } }, false);
  }

  /** Replaces what `metadata.resourceVersion` still is: `conflict` if it has changed. */
  replace(path: string, object: object): Promise<unknown> {
    return this.#ask({ method: 'PUT', path, body: { type: 'application/json', json: object } }, false);
  }

  /** Server-side apply: makes the object, or makes its fields ours and as given. */
  apply(path: string, object: object): Promise<unknown> {
    const query = encodeQuery({ fieldManager: FIELD_MANAGER, force: true });
    // JSON is YAML.
    const body = { type: 'application/apply-patch+yaml', json: object };
    return this.#ask({ method: 'PATCH', path: path + query, body }, true);
  }

  /** The lines of an answer without an end (a watch), until it ends or `signal` aborts. */
  async *lines(
    path: string,
    query: Query,
    signal: AbortSignal,
    maxLineBytes: number,
  ): AsyncGenerator<string> {
    const response = await this.#transport.send({ method: 'GET', path: path + encodeQuery(query), signal });
    if (response.statusCode !== 200) throw await apiErrorOf(response);
    yield* splitLines(response, maxLineBytes);
  }

  close(): void {
    this.#transport.close();
  }

  async #ask(call: Omit<Call, 'signal'>, repeatable: boolean): Promise<unknown> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#once(call);
      } catch (error) {
        // 429 says that nothing was done.
        const harmless = repeatable || (error instanceof ApiError && error.status === 429);
        if (tries === TRIES || !harmless || !isRetryable(error)) throw error;
      }
      await sleep(RETRY_MIN_MS * 2 ** tries * (0.5 + this.#random() / 2));
    }
  }

  async #once(call: Omit<Call, 'signal'>): Promise<unknown> {
    const response = await this.#transport.send({ ...call, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
    const { statusCode = 0 } = response;
    if (statusCode < 200 || statusCode > 299) throw await apiErrorOf(response);
    return JSON.parse(await readBody(response, MAX_BODY_BYTES));
  }
}

async function* splitLines(response: IncomingMessage, maxLineBytes: number): AsyncGenerator<string> {
  let rest: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      let begin = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, begin)) {
        yield Buffer.concat([...rest, chunk.subarray(begin, end)]).toString('utf8');
        begin = end + 1;
        rest = [];
        size = 0;
      }
      size += chunk.length - begin;
      if (size > maxLineBytes)
        throw new CarnetError('too_large', `Kubernetes: an event is longer than ${maxLineBytes} bytes`);
      rest.push(chunk.subarray(begin));
    }
  } catch (error) {
    throw transportError(error);
  } finally {
    response.destroy();
  }
}

async function apiErrorOf(response: IncomingMessage): Promise<ApiError> {
  const { statusCode = 0 } = response;
  const text = await readBody(response, MAX_ERROR_BYTES).catch(() => '');
  let message = '';
  try {
    message = String((JSON.parse(text) as { message?: unknown }).message ?? '');
  } catch {
    message = text.slice(0, 200);
  }
  return new ApiError(statusCode, message === '' ? `HTTP ${statusCode}` : message);
}

function codeOf(status: number): ErrorCode {
  if (status === 401) return 'unauthenticated';
  if (status === 403) return 'permission_denied';
  if (status === 404) return 'not_found';
  if (status === 409) return 'conflict';
  if (status === 429) return 'rate_limited';
  return status >= 500 ? 'unavailable' : 'invalid_argument';
}

function encodeQuery(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined) parameters.set(name, String(value));
  return parameters.size === 0 ? '' : `?${parameters}`;
}
