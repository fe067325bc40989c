import { createHash } from 'node:crypto';
import type { JWTPayload } from 'jose';
import type { AttestedNode, NodeAttestor } from '../../agent/server/node-attestor.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError } from '../../errors.ts';
import { printable } from '../printable.ts';
import { claimAt } from './claim-path.ts';
import { nodeNameOf } from './node-name.ts';
import { nodeSelectors } from './node-selectors.ts';
import type { TokenKeys } from './token-keys.ts';
import type { TokenUses } from './token-uses.ts';
import {
  LEEWAY_SECONDS,
  peekClaims,
  readToken,
  type TokenAlgorithm,
  type TokenRules,
  verifyToken,
} from './verify-token.ts';

/** An issuer of JWTs whose holders are let in: a cloud's instance identity, a CI system, any OpenID provider. */
export interface OidcIssuer extends TokenRules {
  readonly name: string;
  readonly namePrefix: string;
  readonly issuer: string;
  readonly keys: TokenKeys;
  readonly algorithms: readonly TokenAlgorithm[];
  /** The claim that a node is named after; as claim-path.ts reads it, like those below. */
  readonly nodeName: string;
  /** `node:oidc:<key>:<value>` by claim. */
  readonly selectors: Readonly<Record<string, string>>;
  /** Claims that must have one of these values: others may have tokens of the same issuer. */
  readonly required: Readonly<Record<string, readonly string[]>>;
  /** Whether a token may be shown again while it lives, and an agent attest itself again with a new one. */
  readonly reattestable: boolean;
}

const METHOD = 'oidc';
const MAX_EVIDENCE_TEXT = 256;

/**
 * Attests a node by a JWT of a configured issuer: verified by its keys, for our audience, young, with the required
 * claims. A token that is for one attestation is used up by passing. Throws `attestation_failed`,
 * `node_token_expired`, `node_token_audience`, `node_token_used`; `unavailable` where the issuer's keys can't be had.
 */
export function createOidcAttestor(
  issuers: readonly OidcIssuer[],
  uses: TokenUses,
  clock: Clock,
): NodeAttestor {
  return {
    method: METHOD,
    attest: async (payload) => {
      const token = readToken(METHOD, payload);
      const issuer = issuerOf(issuers, peekClaims(METHOD, token));
      const claims = await verifyToken(METHOD, token, issuer, issuer, clock());
      checkRequired(claims, issuer);
      const node = nodeOf(claims, issuer);
      if (!issuer.reattestable) await useUp(token, claims, issuer, uses);
      return node;
    },
  };
}

function issuerOf(issuers: readonly OidcIssuer[], { iss }: JWTPayload): OidcIssuer {
  const found = issuers.find(({ issuer }) => issuer === iss);
  if (found === undefined)
    throw refused(`the token's issuer ${JSON.stringify(String(iss).slice(0, 100))} is none of ours`);
  return found;
}

function checkRequired(claims: JWTPayload, { required }: OidcIssuer): void {
  for (const [path, allowed] of Object.entries(required)) {
    const value = claimAt(claims, path);
    if (typeof value !== 'string')
      throw refused(
        `the token has no claim ${path}, or not one value in it; it must be one of ${allowed.join(', ')}`,
      );
    if (!allowed.includes(value))
      throw refused(
        `the token's claim ${path} is ${JSON.stringify(value.slice(0, 100))}, and none of ${allowed.join(', ')}`,
      );
  }
}

function nodeOf(claims: JWTPayload, issuer: OidcIssuer): AttestedNode {
  const name = claimAt(claims, issuer.nodeName);
  if (typeof name !== 'string')
    throw refused(`the token has no claim ${issuer.nodeName} to name the node after`);
  const found = Object.entries(issuer.selectors).flatMap(([key, path]) =>
    [claimAt(claims, path) ?? []].flat().map((value) => [`oidc:${key}`, value] as const),
  );
  return {
    name: nodeNameOf(METHOD, issuer.namePrefix, name),
    selectors: nodeSelectors([['oidc:issuer', issuer.name], ...found]),
    evidence: {
      issuer: issuer.issuer,
      subject: textOf(claims.sub),
      token_id: textOf(claims.jti),
      issued_at: new Date((claims.iat ?? 0) * 1000).toISOString(),
      expires_at: new Date((claims.exp ?? 0) * 1000).toISOString(),
    },
    reattestable: issuer.reattestable,
  };
}

/**
 * By its `jti` where it has one (RFC 7519 §4.1.7), else by what was signed, which nobody can write in another way and
 * have it pass.
 */
async function useUp(
  token: string,
  claims: JWTPayload,
  { issuer, maxAgeSeconds }: OidcIssuer,
  uses: TokenUses,
): Promise<void> {
  const signed = token.slice(0, token.lastIndexOf('.'));
  const id = claims.jti === undefined ? `signed ${signed}` : `jti ${claims.jti}`;
  const sha256 = createHash('sha256').update(`${issuer}\n${id}`).digest();
  const end = Math.min(claims.exp ?? 0, (claims.iat ?? 0) + maxAgeSeconds) + LEEWAY_SECONDS;
  if (!(await uses.isFirst(sha256, end * 1000)))
    throw new CarnetError(
      'node_token_used',
      `${METHOD}: the token was used already, and is good for one attestation`,
    );
}

function textOf(claim: unknown): string | null {
  return typeof claim === 'string' ? printable(Buffer.from(claim)).slice(0, MAX_EVIDENCE_TEXT) : null;
}

function refused(why: string): CarnetError {
  return new CarnetError('attestation_failed', `${METHOD}: ${why}`);
}
