import type { Holdings } from '../delivery/holdings.ts';
import { CarnetError } from '../errors.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Grant } from '../policy/entry.ts';
import { concatBytes } from '../x509/bytes.ts';
import type { Answer } from './answer.ts';

/** As the generated X509SVIDResponse has it; holds private keys: never logged. */
export interface X509SvidMessage {
  readonly svids: readonly {
    readonly spiffeId: string;
    readonly x509Svid: Uint8Array;
    readonly x509SvidKey: Uint8Array;
    readonly bundle: Uint8Array;
    readonly hint: string;
  }[];
  readonly crl: readonly Uint8Array[];
  readonly federatedBundles: ReadonlyMap<string, Uint8Array>;
}

export interface X509BundlesMessage {
  readonly crl: readonly Uint8Array[];
  readonly bundles: ReadonlyMap<string, Uint8Array>;
}

/**
 * FetchX509SVID (§5.2.1): each identity with its chain, key and bundle. While identities are being issued for the
 * first time it waits for all of them; with `patient` false it says what there is. The hints are the grants'.
 */
export function x509SvidAnswer(
  holdings: Holdings,
  grants: readonly Grant[],
  patient: boolean,
): Answer<X509SvidMessage> {
  const { svids, bundle, complete, problem } = holdings;
  if (svids.length === 0 && complete) return { kind: 'end', error: noIdentity() };
  if (!complete && patient && problem === null) return { kind: 'wait' };
  if (svids.length === 0) return patient ? { kind: 'wait' } : { kind: 'end', error: notYet(problem) };
  const roots = concatBytes(...bundle.x509Authorities);
  const hints = hintsOf(grants);
  return {
    kind: 'message',
    version: [
      ...svids.map(({ serial, identity }) => `${serial} ${hints.get(identity) ?? ''}`),
      bundlesVersion(holdings),
    ].join('\n'),
    message: {
      svids: svids.map(({ identity, chain, privateKey }) => ({
        spiffeId: identity,
        x509Svid: concatBytes(...chain),
        x509SvidKey: privateKey,
        bundle: roots,
        hint: hints.get(identity) ?? '',
      })),
      crl: bundle.crls,
      federatedBundles: certificatesOf(holdings.federated),
    },
  };
}

/** FetchX509Bundles (§5.2.2): for whoever is entitled to an identity, issued or not. */
export function x509BundlesAnswer(holdings: Holdings): Answer<X509BundlesMessage> {
  if (isNobody(holdings)) return { kind: 'end', error: noIdentity() };
  const { bundle, federated } = holdings;
  return {
    kind: 'message',
    version: bundlesVersion(holdings),
    message: { crl: bundle.crls, bundles: certificatesOf([bundle, ...federated]) },
  };
}

/** Whether the caller is entitled to no identity. */
export function isNobody({ svids, complete }: Holdings): boolean {
  return complete && svids.length === 0;
}

export function noIdentity(): CarnetError {
  return new CarnetError(
    'permission_denied',
    'no identity is issued to this caller: no registration entry matches it, or it is revoked',
  );
}

/** By identity. A hint is said once in a message (§5.2.1): of several identities with the same one, the first has it. */
export function hintsOf(grants: readonly Grant[]): ReadonlyMap<string, string> {
  const identityOf = new Map<string, string>();
  for (const { hint, spiffeId } of grants)
    if (hint !== null && !identityOf.has(hint)) identityOf.set(hint, spiffeId);
  return new Map([...identityOf].map(([hint, identity]) => [identity, hint]));
}

/** By the trust domains' SPIFFE IDs. One without roots is left out, so that the client unloads it (§4.4). */
function certificatesOf(bundles: readonly TrustBundle[]): Map<string, Uint8Array> {
  return new Map(
    bundles
      .filter(({ x509Authorities }) => x509Authorities.length > 0)
      .map(({ trustDomain, x509Authorities }) => [
        `spiffe://${trustDomain}`,
        concatBytes(...x509Authorities),
      ]),
  );
}

function bundlesVersion({ bundle, federated }: Holdings): string {
  return [bundle, ...federated]
    .map(({ trustDomain, x509Sequence }) => `${trustDomain} ${x509Sequence}`)
    .join('\n');
}

function notYet(problem: string | null): CarnetError {
  return new CarnetError(
    'unavailable',
    `this caller's certificate is not issued yet: ${problem ?? 'it is under way'}; try again`,
  );
}
