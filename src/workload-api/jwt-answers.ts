import type { Holdings } from '../delivery/holdings.ts';
import { CarnetError } from '../errors.ts';
import { parseAudiences } from '../identity/audience.ts';
import { encodeJwtKeys } from '../identity/bundle-document.ts';
import { type VerifiedJwt, verifyJwtSvid } from '../identity/jwt-svid.ts';
import { parseSpiffeId, type TrustDomain } from '../identity/spiffe-id.ts';
import type { JwtAuthority, TrustBundle } from '../identity/trust-bundle.ts';
import type { Grant } from '../policy/entry.ts';
import type { Answer } from './answer.ts';
import { isNobody, noIdentity } from './x509-answers.ts';

export interface JwtBundlesMessage {
  readonly bundles: ReadonlyMap<string, Uint8Array>;
}

/** FetchJWTBundles (§6.2.2): JWK Sets by the trust domains' SPIFFE IDs. */
export function jwtBundlesAnswer(holdings: Holdings): Answer<JwtBundlesMessage> {
  if (isNobody(holdings)) return { kind: 'end', error: noIdentity() };
  const bundles = [holdings.bundle, ...holdings.federated];
  return {
    kind: 'message',
    version: bundles.map(({ trustDomain, sequence }) => `${trustDomain} ${sequence}`).join('\n'),
    message: {
      bundles: new Map(bundles.map((bundle) => [`spiffe://${bundle.trustDomain}`, encodedKeys(bundle)])),
    },
  };
}

const encoded = new WeakMap<TrustBundle, Uint8Array>();

/** Once for all callers: bundles are shared as objects. */
function encodedKeys(bundle: TrustBundle): Uint8Array {
  const known = encoded.get(bundle);
  if (known !== undefined) return known;
  const bytes = Buffer.from(JSON.stringify(encodeJwtKeys(bundle)));
  encoded.set(bundle, bytes);
  return bytes;
}

/**
 * For which identities FetchJWTSVID asks (§6.2.1), with whose grants; `spiffeId` empty: for all. Throws
 * `invalid_argument`, and `permission_denied` for an identity that is not the caller's, whoever else's it is.
 */
export function wantedTokens(
  grants: readonly Grant[],
  request: { readonly audience: readonly string[]; readonly spiffeId: string },
): { grants: readonly Grant[]; audience: readonly string[] } {
  const audience = parseAudiences(request.audience);
  if (request.spiffeId === '') {
    if (grants.length === 0) throw noIdentity();
    return { grants, audience };
  }
  const wanted = parseIdentity(request.spiffeId);
  const own = grants.filter(({ spiffeId }) => spiffeId === wanted);
  if (own.length === 0)
    throw new CarnetError(
      'permission_denied',
      `${wanted} is no identity of this caller: no registration entry that matches it grants it`,
    );
  return { grants: own, audience };
}

/** ValidateJWTSVID (§6.2.3), by the bundles that the caller has. Throws `invalid_argument`, `permission_denied`. */
export function validate(
  { bundle, federated }: Pick<Holdings, 'bundle' | 'federated'>,
  { audience, svid }: { readonly audience: string; readonly svid: string },
  now: number,
): VerifiedJwt {
  if (audience === '') throw new CarnetError('invalid_argument', 'no audience is given: name the validator');
  if (svid === '') throw new CarnetError('invalid_argument', 'no JWT-SVID is given');
  const keysOf = (domain: TrustDomain): readonly JwtAuthority[] | undefined =>
    [bundle, ...federated].find(({ trustDomain }) => trustDomain === domain)?.jwtAuthorities;
  return verifyJwtSvid(svid, { audience, keysOf, now });
}

function parseIdentity(text: string): string {
  try {
    return parseSpiffeId(text);
  } catch (cause) {
    throw new CarnetError('invalid_argument', (cause as Error).message, { cause });
  }
}
