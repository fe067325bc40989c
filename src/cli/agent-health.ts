import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readiness } from '../api/health.ts';
import { isLocalHost, isLoopback } from '../api/local-host.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';

export interface AgentHealthOptions {
  readonly readiness: () => Readiness;
  readonly metrics: Pick<Metrics, 'scrape' | 'contentType'>;
  /** The host that is listened on. */
  readonly host: string;
  readonly log: Logger;
}

/** `/healthz`, `/readyz` and `/metrics` of an agent, as a server has them; without what a server's REST API needs. */
export function agentHealthHandler({ readiness, metrics, host, log }: AgentHealthOptions) {
  const answers: Readonly<Record<string, () => Answer | Promise<Answer>>> = {
    '/healthz': () => json(200, { status: 'ok' }),
    '/readyz': () => {
      const { ready, checks } = readiness();
      return json(ready ? 200 : 503, { ready, checks });
    },
    '/metrics': async () => ({ status: 200, type: metrics.contentType, body: await metrics.scrape() }),
  };
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const answer = await answerTo(request).catch((err: unknown) => {
      log.error({ err }, 'a request for health or metrics failed');
      return text(500, 'internal error');
    });
    response.writeHead(answer.status, { 'content-type': answer.type, 'cache-control': 'no-store' });
    response.end(request.method === 'HEAD' ? undefined : answer.body);
  };

  async function answerTo({ method, url = '', headers }: IncomingMessage): Promise<Answer> {
    if (isLoopback(host) && !isLocalHost(headers.host))
      return text(403, 'the Host header names another machine');
    if (method !== 'GET' && method !== 'HEAD') return text(405, 'only GET is answered');
    const path = url.split('?', 1)[0] ?? '';
    return Object.hasOwn(answers, path) ? ((await answers[path]?.()) ?? NOT_FOUND) : NOT_FOUND;
  }
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const NOT_FOUND = text(404, 'there is /healthz, /readyz and /metrics');

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` };
}

function json(status: number, body: unknown): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(body)}\n` };
}
