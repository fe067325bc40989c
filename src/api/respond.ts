import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Context, Middleware } from 'koa';
import { errorCodeOf } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { problemOf, retryAfterSeconds } from './problem.ts';
import { isForPerson, problemPage } from './problem-page.ts';

const HEADERS = {
  // Tokens and audit records belong in nobody's cache.
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  // For browsers older than frame-ancestors.
  'X-Frame-Options': 'DENY',
};

/** The outermost layer: every request is answered, with a problem document if it failed, counted and logged. */
export function answerEvery(log: Logger, metrics: Metrics): Middleware {
  return async (ctx, next) => {
    const requestId = randomUUID();
    const startedAt = performance.now();
    ctx.set({ ...HEADERS, 'X-Request-Id': requestId });
    let failure: unknown;
    try {
      await next();
    } catch (error) {
      failure = error;
      answerProblem(ctx, error, requestId);
    }
    const seconds = (performance.now() - startedAt) / 1000;
    const route = String(ctx.state.route ?? 'none');
    metrics.httpRequests.inc({ method: methodLabel(ctx.method), route, status: ctx.status });
    metrics.httpRequestSeconds.observe({ route }, seconds);
    writeLog(log, ctx, { requestId, route, seconds, failure });
  };
}

function answerProblem(ctx: Context, error: unknown, requestId: string): void {
  const problem = problemOf(error, requestId);
  const retryAfter = retryAfterSeconds(error);
  ctx.status = problem.status;
  if (problem.code === 'unauthenticated') ctx.set('WWW-Authenticate', 'Bearer realm="carnet"');
  if (retryAfter !== null && !ctx.res.hasHeader('Retry-After')) ctx.set('Retry-After', String(retryAfter));
  const forPerson = isForPerson(ctx.headers);
  ctx.set('Content-Type', forPerson ? 'text/html; charset=utf-8' : 'application/problem+json');
  ctx.body = forPerson ? problemPage(problem) : `${JSON.stringify(problem)}\n`;
}

/** One line a request. Never the query, a header or a message that quotes them: they may hold what is secret. */
function writeLog(
  log: Logger,
  ctx: Context,
  request: { requestId: string; route: string; seconds: number; failure: unknown },
): void {
  const { requestId, route, seconds, failure } = request;
  const fields = {
    requestId,
    method: ctx.method,
    route,
    status: ctx.status,
    ms: Math.round(seconds * 1e4) / 10,
    address: ctx.ip,
    actor: ctx.state.actor,
  };
  const code = errorCodeOf(failure);
  if (failure === undefined) log[isRead(ctx.method) ? 'debug' : 'info'](fields, 'http request');
  else if (code === 'internal') log.error({ ...fields, err: failure }, 'http request failed');
  else log[levelOf(ctx.status)]({ ...fields, code }, 'http request refused');
}

/** Whoever was kept out stays visible; a caller's mistake is its own matter. */
function levelOf(status: number): 'debug' | 'info' | 'warn' {
  if (status >= 500) return 'warn';
  return status === 401 || status === 403 ? 'info' : 'debug';
}

function isRead(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** A label must have few values, whatever a client sends. */
function methodLabel(method: string): string {
  return ['GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'PATCH', 'OPTIONS'].includes(method) ? method : 'other';
}
