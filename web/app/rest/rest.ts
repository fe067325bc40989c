/** What went wrong with a request, in words for a person. */
export class RestError extends Error {
  /** HTTP's; 0 where no answer came at all. */
  readonly status: number;
  /** For how long the server asked to be left alone. */
  readonly retryAfterSeconds: number | null;
  /** By which the server's log knows it. */
  readonly requestId: string | null;

  constructor(status: number, message: string, retryAfterSeconds: number | null, requestId: string | null) {
    super(message);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
    this.requestId = requestId;
  }

  /** Whether the same request may well succeed a little later. */
  get mayPass(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** A server that is there answers within this, or says why not. */
const TIMEOUT_MS = 30_000;

let csrfToken: string | null = null;
let signedOut: () => void = () => undefined;

/** What requests that change something must carry; of the session (`GET /v1/session`). */
export function setCsrfToken(token: string | null): void {
  csrfToken = token;
}

/** Calls `listener` when the server says that nobody is signed in. */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

/** Reads JSON. Throws {@link RestError}, or an AbortError once `signal` says so. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request('GET', path, signal === undefined ? {} : { signal })).json() as Promise<T>;
}

/** Reads text, such as a checkpoint. Throws like {@link get}. */
export async function getText(path: string, signal?: AbortSignal): Promise<string> {
  return (await request('GET', path, signal === undefined ? {} : { signal })).text();
}

/** Changes something. Throws {@link RestError}. */
export async function send<T>(method: 'POST' | 'DELETE', path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = csrfToken === null ? {} : { 'Carnet-CSRF': csrfToken };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const response = await request(method, path, {
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return (text === '' ? null : JSON.parse(text)) as T;
}

async function request(method: string, path: string, init: RequestInit): Promise<Response> {
  const signals = [AbortSignal.timeout(TIMEOUT_MS), ...(init.signal ? [init.signal] : [])];
  let response: Response;
  try {
    response = await fetch(path, { ...init, method, signal: AbortSignal.any(signals) });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new RestError(0, 'the server does not answer', null, null);
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (response.status === 401) signedOut();
  throw error;
}

/** Of a problem document (RFC 9457); a proxy before the server may say something else. */
async function errorOf(response: Response): Promise<RestError> {
  const problem = (await response.json().catch(() => ({}))) as { detail?: unknown; title?: unknown };
  const detail = [problem.detail, problem.title, response.statusText].find((one) => typeof one === 'string');
  const wait = Number(response.headers.get('Retry-After') ?? Number.NaN);
  return new RestError(
    response.status,
    String(detail ?? `status ${response.status}`),
    Number.isFinite(wait) ? wait : null,
    response.headers.get('X-Request-Id'),
  );
}
