import { readFile } from 'node:fs/promises';
import { HTTP_STATUS, type Problem } from '../api/problem.ts';
import { isTokenText } from '../api/token-text.ts';
import { CarnetError, type ErrorCode } from '../errors.ts';
import { printable } from './output.ts';

const TIMEOUT_MS = 30_000;
/** Of a long answer, between two parts of it. */
const STREAM_IDLE_MS = 60_000;
/** The server's own bound: fewest round trips. */
const PAGE_SIZE = 1000;

export type Query = Readonly<Record<string, string>>;

interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

/** The REST interface of one server, as the operator commands call it. */
export class Client {
  /** Without a slash at its end. */
  readonly server: string;
  readonly tokenFile: string;
  #token: string | undefined;

  constructor(server: string, tokenFile: string) {
    this.server = parseServer(server);
    this.tokenFile = tokenFile;
  }

  /** Answers the JSON of a 2xx; anything else is thrown as the error that it tells. */
  async get<T>(path: string, query: Query = {}): Promise<T> {
    const search = new URLSearchParams(query).toString();
    return this.#call('GET', search === '' ? path : `${path}?${search}`);
  }

  async post<T>(path: string, body?: unknown): Promise<T> {
    return this.#call('POST', path, body);
  }

  async delete<T>(path: string): Promise<T> {
    return this.#call('DELETE', path);
  }

  /** One page of a list. */
  async page<T>(path: string, query: Query): Promise<Page<T>> {
    return this.get(path, query);
  }

  /** Every page of a list, from the first on. */
  async *pages<T>(path: string, query: Query = {}): AsyncGenerator<readonly T[]> {
    let cursor: string | null = null;
    do {
      const next: Query = cursor === null ? {} : { cursor };
      const page: Page<T> = await this.page(path, { ...query, limit: String(PAGE_SIZE), ...next });
      yield page.items;
      cursor = page.next_cursor;
    } while (cursor !== null);
  }

  /** Text that takes no token. */
  async text(path: string): Promise<string> {
    const response = await this.#fetch('GET', path, {});
    if (!response.ok) throw this.#errorOf(response, await jsonOf(response));
    return response.text();
  }

  /**
   * An answer of any length, as it comes. Throws as `get` does, and `unavailable` for one that is cut off, or that
   * nothing comes of for a while.
   */
  async *stream(path: string, query: Query, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    this.#token ??= await readToken(this.tokenFile);
    const idle = new AbortController();
    const timer = setTimeout(() => idle.abort(), STREAM_IDLE_MS);
    try {
      const response = await fetch(`${this.server}${path}?${new URLSearchParams(query)}`, {
        headers: { authorization: `Bearer ${this.#token}` },
        redirect: 'error',
        signal: AbortSignal.any([signal, idle.signal]),
      });
      if (!response.ok) throw this.#errorOf(response, await jsonOf(response));
      for await (const chunk of response.body ?? []) {
        timer.refresh();
        yield chunk;
      }
    } catch (error) {
      if (error instanceof CarnetError) throw error;
      if (idle.signal.aborted)
        throw new CarnetError('timeout', `${this.server} sent nothing for ${STREAM_IDLE_MS / 1000} s`);
      throw this.#unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** A request without a token, whose answer has one of the statuses. */
  async probe<T>(path: string, statuses: readonly number[]): Promise<{ headers: Headers; json: T }> {
    const response = await this.#fetch('GET', path, {});
    const json = await jsonOf(response);
    if (!statuses.includes(response.status) || json === undefined) throw this.#foreign(response.status);
    return { headers: response.headers, json: json as T };
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    this.#token ??= await readToken(this.tokenFile);
    const headers: Record<string, string> = { authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const response = await this.#fetch(method, path, headers, body);
    const json = await jsonOf(response);
    if (!response.ok) throw this.#errorOf(response, json);
    if (json === undefined) throw this.#foreign(response.status);
    return json as T;
  }

  async #fetch(
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: unknown,
  ): Promise<Response> {
    try {
      return await fetch(this.server + path, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        // Nobody but the server that was named gets the token.
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  #unreachable(error: unknown): CarnetError {
    if (error instanceof Error && error.name === 'TimeoutError')
      return new CarnetError('timeout', `${this.server} did not answer within ${TIMEOUT_MS / 1000} s`);
    const cause = (error as Error).cause;
    if ((cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED')
      return new CarnetError(
        'unavailable',
        `no Carnet server at ${this.server}: start one with \`carnet server\`, or name another with --server`,
        { cause: error },
      );
    const why = cause instanceof Error ? cause.message : (error as Error).message;
    return new CarnetError('unavailable', `${this.server} can't be reached: ${printable(why)}`, {
      cause: error,
    });
  }

  #errorOf(response: Response, json: unknown): CarnetError {
    const problem = json as Partial<Problem> | undefined;
    const { code } = problem ?? {};
    if (code === undefined || !Object.hasOwn(HTTP_STATUS, code)) return this.#foreign(response.status);
    return new CarnetError(code, `${printable(problem?.detail ?? code)}${this.#advice(code, response)}`);
  }

  #advice(code: ErrorCode, response: Response): string {
    if (code === 'unauthenticated' || code === 'permission_denied')
      return ` (the token is from ${this.tokenFile}; choose another with --token-file)`;
    const seconds = response.headers.get('retry-after');
    return seconds === null ? '' : `; try again in ${printable(seconds)} s`;
  }

  #foreign(status: number): CarnetError {
    return new CarnetError(
      'unavailable',
      `${this.server} answered ${status} in a way that no Carnet server does: is it the right address?`,
    );
  }
}

function parseServer(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    url === undefined ||
    !['http:', 'https:'].includes(url.protocol) ||
    url.search !== '' ||
    url.hash !== ''
  )
    throw new CarnetError('config_invalid', `--server ${text}: give a URL such as http://127.0.0.1:8080`);
  return url.href.replace(/\/+$/, '');
}

async function readToken(file: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'is not there' : "can't be read";
    throw new CarnetError(
      'not_found',
      `the token file ${file} ${why}: name the server's with --data-dir, or another with --token-file`,
      { cause: error },
    );
  }
  // Another file's secret must not be sent to the server.
  if (!isTokenText(text)) throw new CarnetError('config_invalid', `the file ${file} does not hold a token`);
  return text;
}

/** The answer's JSON, or undefined when it isn't any. */
async function jsonOf(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
