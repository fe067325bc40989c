import { readFileSync } from 'node:fs';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
} from 'jose';
import { z } from 'zod';
import { CarnetError, type ErrorCode } from '../../errors.ts';
import { getJson } from '../get-json.ts';

/** Finds the key that a token says it is signed by. Throws `unavailable` or `timeout` where none can be asked for now. */
export type TokenKeys = JWTVerifyGetKey;

/** Whom to believe, PEM; null for the system's roots. */
export type CaPem = string | null;

const TIMEOUT_MS = 5000;
/** Ours: some tens of keys with their certificates. */
const MAX_BYTES = 256 * 1024;
/** Ours: a key that an issuer withdrew counts here no longer than this. */
const MAX_AGE_MS = 10 * 60_000;
/** Ours: tokens with keys that nobody knows make us ask no more often than this. */
const COOLDOWN_MS = 30_000;

/**
 * Keys in a file (RFC 7517 §5), which is read for each token: attestations are few. Throws `config_invalid` for a file
 * that has none now; later that is `unavailable`.
 */
export function keysInFile(path: string): TokenKeys {
  readKeySet(path, 'config_invalid');
  return async (header, token) => readKeySet(path, 'unavailable')(header, token);
}

function readKeySet(path: string, code: ErrorCode): TokenKeys {
  try {
    return createLocalJWKSet(JSON.parse(readFileSync(path, 'utf8')) as JSONWebKeySet);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new CarnetError(code, `${path} can't be read as a JSON Web Key Set: ${why}`, { cause });
  }
}

/** Keys at an address, kept for ten minutes, and asked for anew when a token names one that isn't there. */
export function keysAt(url: URL, ca: CaPem): TokenKeys {
  return createRemoteJWKSet(url, {
    // Ours comes first.
    timeoutDuration: 2 * TIMEOUT_MS,
    cooldownDuration: COOLDOWN_MS,
    cacheMaxAge: MAX_AGE_MS,
    [customFetch]: async () => Response.json(await getDocument(url, ca)),
  });
}

const DISCOVERY = z.object({ issuer: z.string(), jwks_uri: z.url() });

/**
 * Keys of an OpenID Connect issuer, where its discovery document says (OpenID Connect Discovery 1.0 §4). That is asked
 * for with the first token, and again after a failure, at most once in a while. `issuer` is without a slash at its end
 * unless its tokens have one.
 */
export function discoveredKeys(issuer: string, ca: CaPem): TokenKeys {
  const now = (): number => performance.now();
  let found: { keys: Promise<TokenKeys>; failedAt: number | null } | null = null;
  return async (header, token) => {
    if (found === null || (found.failedAt !== null && now() - found.failedAt > TIMEOUT_MS)) {
      const attempt: typeof found = { keys: discover(issuer, ca), failedAt: null };
      attempt.keys.catch(() => {
        attempt.failedAt = now();
      });
      found = attempt;
    }
    return (await found.keys)(header, token);
  };
}

async function discover(issuer: string, ca: CaPem): Promise<TokenKeys> {
  const document = await getDocument(discoveryUrl(issuer), ca);
  const { data } = DISCOVERY.safeParse(document);
  if (data === undefined)
    throw new CarnetError('unavailable', `${issuer} has no OpenID Connect discovery document`);
  // §4.3: a document of another issuer's must not be taken.
  if (data.issuer !== issuer)
    throw new CarnetError(
      'unavailable',
      `the discovery document of ${issuer} is of ${data.issuer.slice(0, 200)}`,
    );
  return keysAt(keysUrlOf(issuer, data.jwks_uri), ca);
}

function keysUrlOf(issuer: string, text: string): URL {
  try {
    return checkedUrl(text);
  } catch (cause) {
    throw new CarnetError('unavailable', `the keys of ${issuer}: ${(cause as Error).message}`, { cause });
  }
}

function discoveryUrl(issuer: string): URL {
  return checkedUrl(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}

/** Keys come over TLS, but for those of this very machine. Throws `config_invalid`. */
export function checkedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLocal = url?.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if (url?.protocol === 'https:' || isLocal) return new URL(text);
  throw new CarnetError('config_invalid', `${JSON.stringify(text.slice(0, 200))} is no https address`);
}

async function getDocument(url: URL, ca: CaPem): Promise<unknown> {
  const { status, json } = await getJson({
    url,
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_BYTES,
    ...(ca !== null && { ca }),
  });
  if (status !== 200 || json === undefined)
    throw new CarnetError('unavailable', `${url.href} answers ${status}, and no JSON`);
  return json;
}
