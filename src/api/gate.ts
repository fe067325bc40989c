import { hash } from 'node:crypto';
import type { Context, Middleware } from 'koa';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import type { AccessRecord } from './access-record.ts';
import { authorize } from './authorize.ts';
import type { Callers } from './callers.ts';
import { callerOf, RateLimit } from './rate-limit.ts';
import { readJson } from './request-body.ts';
import { readQuery } from './request-query.ts';
import type { Caller, Route } from './route.ts';
import { Streamed } from './streamed.ts';

/** Bounds what one address costs before it is known: a refusal takes 0.2 ms of CPU, so a tenth of a core. */
const ADDRESS_RATE = { perSecond: 500, burst: 2000 };
/** A program that looks up each certificate it meets stays below; one that runs wild doesn't hurt the others. */
const CALLER_RATE = { perSecond: 200, burst: 1000 };

const ANONYMOUS: Caller = {
  actor: 'anonymous',
  role: null,
  scopes: null,
  tokenId: null,
  sessionId: null,
  expiresAt: null,
};

export interface GateOptions {
  readonly callers: Callers;
  readonly record: AccessRecord;
  readonly clock: Clock;
}

/** What stands before every route: rate, token or session, role, scope, and the request's form. */
export class Gate {
  readonly #known: Callers;
  readonly #record: AccessRecord;
  readonly #clock: Clock;
  readonly #addresses: RateLimit;
  readonly #callers: RateLimit;

  constructor({ callers, record, clock }: GateOptions) {
    this.#known = callers;
    this.#record = record;
    this.#clock = clock;
    this.#addresses = new RateLimit(ADDRESS_RATE, clock);
    this.#callers = new RateLimit(CALLER_RATE, clock);
  }

  serve(route: Route): Middleware {
    const rate = route.rate && new RateLimit(route.rate, this.#clock);
    return async (ctx) => {
      ctx.state.route = route.path;
      if (!route.unlimited) limit(ctx, this.#addresses, callerOf(ctx.ip));
      if (rate !== null) limit(ctx, rate, callerOf(ctx.ip));
      const caller = await this.#admit(route, ctx);
      ctx.state.actor = caller.actor;
      const visit = { caller, route, path: ctx.path, query: ctx.querystring };
      await this.#record.begins(visit);
      const { status, body } = await route.answer({
        params: ctx.params,
        query: readQuery(ctx.querystring),
        body: route.body === null ? undefined : await readJson(ctx.req, route.maxBodyBytes),
        caller,
        headers: ctx.req.headers,
        reply: { append: (name, value) => ctx.append(name, value) },
      });
      await this.#record.answers(visit).catch((error: unknown) => {
        if (body instanceof Streamed) body.stream.destroy();
        throw error;
      });
      ctx.status = status;
      if (body instanceof Streamed) return sendStream(ctx, body);
      ctx.set('Content-Type', route.mediaType);
      ctx.body = bodyOf(body);
      allowCaches(ctx, ctx.body as string | Buffer, route);
    };
  }

  async #admit(route: Route, ctx: Context): Promise<Caller> {
    if (route.access === 'public') return ANONYMOUS;
    const caller = await this.#known.of(ctx.req, route.method !== 'GET');
    limit(ctx, this.#callers, caller.sessionId ?? caller.tokenId ?? caller.actor);
    authorize(caller, route);
    return caller;
  }
}

/** Its length is not known beforehand: what ends early is cut off, so that nobody takes it for whole. */
function sendStream(ctx: Context, { stream, mediaType, headers }: Streamed): void {
  ctx.set({ 'Content-Type': mediaType, ...headers });
  if (ctx.method === 'HEAD') stream.destroy();
  ctx.body = stream;
}

/** Text and bytes as they are; anything else as JSON. */
function bodyOf(answer: unknown): string | Buffer {
  if (answer instanceof Uint8Array) return Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  return typeof answer === 'string' ? answer : `${JSON.stringify(answer)}\n`;
}

/**
 * Whoever has this answer already gets 304 (RFC 9110 §13.1.2). What takes a token is in no cache: a browser's own would
 * show it to whoever signs in next, and nobody would know.
 */
function allowCaches(ctx: Context, body: string | Buffer, { access, cacheSeconds }: Route): void {
  if (cacheSeconds === null || access !== 'public') return;
  ctx.set('Cache-Control', `public, max-age=${cacheSeconds}`);
  ctx.set('ETag', `"${hash('sha256', body, 'hex').slice(0, 32)}"`);
  if (ctx.fresh) ctx.status = 304;
}

function limit(ctx: Context, rate: RateLimit, caller: string): void {
  const waitSeconds = rate.take(caller);
  if (waitSeconds === 0) return;
  ctx.set('Retry-After', String(waitSeconds));
  throw new CarnetError('rate_limited', `too many requests: try again in ${waitSeconds} s`);
}
