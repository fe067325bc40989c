import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { Rate } from './rate-limit.ts';
import type { Access, Role } from './role.ts';
import { validate } from './validate.ts';

/** 1 MiB: some hundred times the largest thing that a person writes by hand. */
const MAX_BODY_BYTES = 1024 * 1024;

/** Strict: a parameter that a route doesn't know is an error, not a filter that silently doesn't filter. */
const NOTHING = z.strictObject({});

/** One endpoint, said once: it validates requests, answers them, and is what the OpenAPI document is made from. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** As OpenAPI writes it: `/v1/entries/{id}`. */
  readonly path: string;
  /** For programs: OpenAPI's operationId. */
  readonly name: string;
  readonly access: Access;
  /** A few words, in the imperative. */
  readonly summary: string;
  /** What the summary leaves open; Markdown. */
  readonly description: string;
  readonly params: z.ZodObject;
  /** Its last parameter takes all that is left of the path, slashes and all. */
  readonly restOfPath: boolean;
  readonly query: z.ZodObject;
  /** Null for a request without a body. */
  readonly body: z.ZodType | null;
  readonly maxBodyBytes: number;
  readonly response: z.ZodType;
  readonly mediaType: string;
  /** The others that a {@link Streamed} answer may have. */
  readonly otherMediaTypes: readonly string[];
  /** How long caches may keep the answer, in seconds; null: nobody keeps it. */
  readonly cacheSeconds: number | null;
  /** All that it may answer when it doesn't fail. */
  readonly statuses: readonly number[];
  /** Not counted by the rate limits: for probes, whose refusal would restart a busy server. */
  readonly unlimited: boolean;
  /** Of one address, besides the limit that all routes have together; null for none. */
  readonly rate: Rate | null;
  /** Whether it tells what attestation saw, or what operators did: such reads can be made to leave an event. */
  readonly evidence: boolean;
  /** Throws `invalid_argument` and whatever the operation throws. */
  readonly answer: (request: RawRequest) => Promise<{ status: number; body: unknown }>;
}

/** A request as it came, before its validation. */
export interface RawRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** Parsed JSON; undefined where the route takes no body. */
  readonly body: unknown;
  readonly caller: Caller;
  readonly headers: IncomingHttpHeaders;
  readonly reply: Reply;
}

export interface Caller {
  /** `operator:<token name>`, or `anonymous` on a public route. */
  readonly actor: string;
  /** Null on a public route. */
  readonly role: Role | null;
  /** What its token is limited to; null for all that the role may. */
  readonly scopes: readonly string[] | null;
  /** ID of the token that was shown, or that its session was opened with; null for none. */
  readonly tokenId: string | null;
  /** ID of the session whose cookie was shown; null for none. */
  readonly sessionId: string | null;
  /** When it is over whatever it does; null for never. */
  readonly expiresAt: Date | null;
}

/** What an answer has besides its body. */
interface Reply {
  /** Adds a header; one that is there stays. */
  readonly append: (name: string, value: string) => void;
}

interface Request<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly caller: Caller;
  readonly headers: IncomingHttpHeaders;
  readonly reply: Reply;
}

interface RouteSpec<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, R extends z.ZodType> {
  readonly method: Route['method'];
  readonly path: string;
  readonly name: string;
  readonly access: Access;
  readonly summary: string;
  readonly description?: string;
  readonly params?: P;
  readonly restOfPath?: boolean;
  readonly query?: Q;
  readonly body?: B;
  readonly maxBodyBytes?: number;
  readonly response: R;
  readonly mediaType?: string;
  readonly otherMediaTypes?: readonly string[];
  readonly cacheSeconds?: number;
  /** The first is the answer's, unless `statusOf` chooses. */
  readonly statuses?: readonly [number, ...number[]];
  readonly statusOf?: (response: z.input<R>) => number;
  readonly unlimited?: boolean;
  readonly rate?: Rate;
  readonly evidence?: boolean;
  readonly handle: (
    request: Request<z.output<P>, z.output<Q>, z.output<B>>,
  ) => Promise<z.input<R>> | z.input<R>;
}

/** Makes a {@link Route} of a handler that sees parsed values only and must answer what its schema says. */
export function defineRoute<
  P extends z.ZodObject = z.ZodObject,
  Q extends z.ZodObject = z.ZodObject,
  B extends z.ZodType = z.ZodUndefined,
  R extends z.ZodType = z.ZodType,
>(spec: RouteSpec<P, Q, B, R>): Route {
  const params = spec.params ?? (NOTHING as unknown as P);
  const query = spec.query ?? (NOTHING as unknown as Q);
  const body = spec.body ?? null;
  const statuses = spec.statuses ?? [200];
  return {
    method: spec.method,
    path: spec.path,
    name: spec.name,
    access: spec.access,
    summary: spec.summary,
    description: spec.description ?? '',
    params,
    restOfPath: spec.restOfPath ?? false,
    query,
    body,
    maxBodyBytes: spec.maxBodyBytes ?? MAX_BODY_BYTES,
    response: spec.response,
    mediaType: spec.mediaType ?? 'application/json',
    otherMediaTypes: spec.otherMediaTypes ?? [],
    cacheSeconds: spec.cacheSeconds ?? null,
    statuses,
    unlimited: spec.unlimited ?? false,
    rate: spec.rate ?? null,
    evidence: spec.evidence ?? false,
    answer: async (raw) => {
      const response = await spec.handle({
        params: validate(params, raw.params, 'the path'),
        query: validate(query, raw.query, 'the query'),
        body: (body === null ? undefined : validate(body, raw.body, 'the body')) as z.output<B>,
        caller: raw.caller,
        headers: raw.headers,
        reply: raw.reply,
      });
      return { status: spec.statusOf?.(response) ?? statuses[0], body: response };
    },
  };
}
