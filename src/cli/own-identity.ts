import { hostname } from 'node:os';
import { ServerIdentity } from '../agent/server/server-identity.ts';
import { createIssue } from '../ca/issue.ts';
import type { Issue } from '../ca/issue-request.ts';
import { type LeafProfile, SERVER } from '../ca/profile.ts';
import type { Authorities } from '../rotation/authorities.ts';
import { countedIssue } from './measure.ts';
import { refuseDenied } from './refuse-denied.ts';
import type { LinkOptions } from './start-link.ts';

type IssueOptions = Pick<
  LinkOptions,
  'authorities' | 'recorder' | 'clock' | 'config' | 'denials' | 'metrics'
>;

interface OwnIdentityOptions {
  /** Besides the SPIFFE ID, `spiffe://<trust domain>/carnet/server`. */
  readonly dnsNames: readonly string[];
  readonly onChange?: (identity: ServerIdentity['current']) => void;
  /** What the log says when it could not be renewed. */
  readonly onFailed: string;
}

/** What this server shows on one of its addresses: a certificate of our own, which renews itself. */
export function createOwnIdentity(
  options: IssueOptions & Pick<LinkOptions, 'log'>,
  { dnsNames, onChange = () => undefined, onFailed }: OwnIdentityOptions,
): Promise<ServerIdentity> {
  const { config, authorities, clock, log } = options;
  return ServerIdentity.create({
    trustDomain: config.trustDomain,
    host: hostname(),
    dnsNames,
    issue: issueUnder(SERVER, config.leafTtl, options),
    roots: () => authorities.bundle().x509Authorities,
    rootOf: (authority) => rootOf(authorities, authority),
    isSuperseded: (authority) => authorities.isSuperseded(authority),
    clock,
    random: Math.random,
    onChange,
    onFailed: (err) => log.warn({ err }, onFailed),
  });
}

/** What is shown, encoded once for as long as it is the same. */
export function encodedOnce<T>(
  own: ServerIdentity,
  encode: (identity: ServerIdentity['current']) => T,
): () => T {
  let from = own.current;
  let encoded = encode(from);
  return () => {
    if (own.current !== from) {
      from = own.current;
      encoded = encode(from);
    }
    return encoded;
  };
}

/** What issues leaves of one of our own parts. */
export function issueUnder(profile: LeafProfile, defaultTtlSeconds: number, options: IssueOptions): Issue {
  const { authorities, recorder, clock, config, denials, metrics } = options;
  const issue = createIssue({
    profile,
    activeAuthority: () => authorities.active(),
    recorder,
    clock,
    defaultTtlSeconds,
    backdateSeconds: config.notBeforeBackdate,
    publicUrl: config.publicUrl,
  });
  return countedIssue(refuseDenied(issue, denials), metrics, profile);
}

/** The root under which an issuing CA signs, DER; undefined for a CA that is not known. */
function rootOf(authorities: Authorities, issuing: string): Uint8Array | undefined {
  const all = authorities.list();
  const parentId = all.find(({ id }) => id === issuing)?.parentId;
  return all.find(({ id }) => id === parentId)?.certificate;
}
