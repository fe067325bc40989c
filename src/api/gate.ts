import { hash } from 'node:crypto';
import type { Context, Middleware } from 'koa';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { type Authenticator, actorOf, authorize } from './authenticate.ts';
import { callerOf, RateLimit } from './rate-limit.ts';
import { readJson } from './request-body.ts';
import { readQuery } from './request-query.ts';
import type { Caller, Route } from './route.ts';

/** Bounds what one address costs before it is known: a refusal takes 0.2 ms of CPU, so a tenth of a core. */
const ADDRESS_RATE = { perSecond: 500, burst: 2000 };
/** A program that looks up each certificate it meets stays below; one that runs wild doesn't hurt the others. */
const TOKEN_RATE = { perSecond: 200, burst: 1000 };

const ANONYMOUS: Caller = { actor: 'anonymous', tokenId: null };

/** What stands before every route: rate, token, role, and the request's form. */
export class Gate {
  readonly #authenticator: Authenticator;
  readonly #addresses: RateLimit;
  readonly #tokens: RateLimit;

  constructor(authenticator: Authenticator, clock: Clock) {
    this.#authenticator = authenticator;
    this.#addresses = new RateLimit(ADDRESS_RATE, clock);
    this.#tokens = new RateLimit(TOKEN_RATE, clock);
  }

  serve(route: Route): Middleware {
    return async (ctx) => {
      ctx.state.route = route.path;
      if (!route.unlimited) limit(ctx, this.#addresses, callerOf(ctx.ip));
      const caller = await this.#admit(route, ctx);
      ctx.state.actor = caller.actor;
      const { status, body } = await route.answer({
        params: ctx.params,
        query: readQuery(ctx.querystring),
        body: route.body === null ? undefined : await readJson(ctx.req, route.maxBodyBytes),
        caller,
      });
      ctx.status = status;
      ctx.set('Content-Type', route.mediaType);
      ctx.body = bodyOf(body);
      allowCaches(ctx, ctx.body as string | Buffer, route);
    };
  }

  async #admit(route: Route, ctx: Context): Promise<Caller> {
    if (route.access === 'public') return ANONYMOUS;
    const header = ctx.req.headers.authorization;
    const token = await this.#authenticator.authenticate(header, route.method === 'GET');
    limit(ctx, this.#tokens, token.id);
    authorize(token, route.access);
    return { actor: actorOf(token), tokenId: token.id };
  }
}

/** Text and bytes as they are; anything else as JSON. */
function bodyOf(answer: unknown): string | Buffer {
  if (answer instanceof Uint8Array) return Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  return typeof answer === 'string' ? answer : `${JSON.stringify(answer)}\n`;
}

/** Whoever has this answer already gets 304 (RFC 9110 §13.1.2). What takes a token is in no shared cache. */
function allowCaches(ctx: Context, body: string | Buffer, { access, cacheSeconds }: Route): void {
  if (cacheSeconds === null) return;
  ctx.set('Cache-Control', `${access === 'public' ? 'public' : 'private'}, max-age=${cacheSeconds}`);
  ctx.set('ETag', `"${hash('sha256', body, 'hex').slice(0, 32)}"`);
  if (ctx.fresh) ctx.status = 304;
}

function limit(ctx: Context, rate: RateLimit, caller: string): void {
  const waitSeconds = rate.take(caller);
  if (waitSeconds === 0) return;
  ctx.set('Retry-After', String(waitSeconds));
  throw new CarnetError('rate_limited', `too many requests: try again in ${waitSeconds} s`);
}
