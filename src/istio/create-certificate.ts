import type { Attestation } from '../attestation/attestation.ts';
import type { Issue, IssuedSvid } from '../ca/issue-request.ts';
import { CarnetError } from '../errors.ts';
import {
  parseSpiffeId,
  pathOf,
  type SpiffeId,
  spiffeIdOf,
  type TrustDomain,
  trustDomainOf,
} from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Grant } from '../policy/entry.ts';
import { decodePem, encodePem } from '../x509/pem.ts';
import type { Shares } from './shares.ts';

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
}

/** A pod that showed its service account's token. */
export interface TokenBearer {
  readonly attestation: Attestation;
  /** The name of the node that the token is bound to. */
  readonly node: string;
  readonly serviceAccount: ServiceAccount;
}

export interface CertificateAuthorityOptions {
  readonly trustDomain: TrustDomain;
  /** Whose token it is. Throws `unauthenticated`. */
  readonly authenticate: (token: string) => Promise<TokenBearer>;
  /** What runs on the node under this service account, by the cluster's word; undefined when nothing does. */
  readonly runningOn: (node: string, account: ServiceAccount) => Promise<Attestation | undefined>;
  /** Service accounts (`namespace/name`) of node agents, such as ztunnel, that ask for all that runs on their node. */
  readonly nodeAgents: ReadonlySet<string>;
  readonly grantsOf: (attestation: Attestation, node: string) => readonly Grant[];
  readonly issue: Issue;
  readonly bundle: () => TrustBundle;
  /**
   * Takes note of what is about to be handed out, for rotations to wait for whoever has it: it will not say what it
   * does with it, and learns of other roots only when it asks again.
   */
  readonly handOut: (
    svid: IssuedSvid,
    bundle: TrustBundle,
    holder: { instance: string; node: string },
  ) => Promise<void>;
  readonly shares: Shares;
  /** For grants that name no lifetime. */
  readonly defaultTtlSeconds: number;
}

/** One call of IstioCertificateService/CreateCertificate. */
export interface CertificateCall {
  /** As the caller's metadata have it; null without one. */
  readonly token: string | null;
  /** PKCS#10, PEM. Only its public key is taken. */
  readonly csr: string;
  /** Seconds; 0 for whatever is usual. */
  readonly validityDuration: number;
  /** The SPIFFE ID that a node agent asks for in another's name; null for the caller's own. */
  readonly impersonated: string | null;
}

/** Ours: a certificate request with an RSA key of 8192 bits has 3 KiB. */
const MAX_CSR_CHARACTERS = 16_384;
const ACCOUNT_PATH = /^\/ns\/([a-z0-9.-]+)\/sa\/([a-z0-9.-]+)$/;

/**
 * The certificate that Istio's agent or ztunnel asks for: leaf, its issuers, and last the roots in one PEM text,
 * which is how its clients tell them. The identity is the service account's, `/ns/<namespace>/sa/<name>`, and must
 * be granted by an entry like any other. Throws `unauthenticated`, `permission_denied`, `invalid_argument`,
 * `rate_limited`, and what issuing throws.
 */
export async function createCertificate(
  call: CertificateCall,
  options: CertificateAuthorityOptions,
): Promise<string[]> {
  if (call.token === null)
    throw new CarnetError('unauthenticated', 'show a service account token: authorization: Bearer TOKEN');
  const csr = csrOf(call.csr);
  const bearer = await options.authenticate(call.token);
  const { attestation, account } = await subjectOf(call.impersonated, bearer, options);
  options.shares.take(bearer, call.impersonated !== null);
  const grant = grantFor(account, attestation, bearer.node, options);
  const svid = await options.issue({
    csr,
    grant: { ...grant, ttlSeconds: lifeOf(grant, call.validityDuration, options.defaultTtlSeconds) },
    attestation,
    node: bearer.node,
    requester: `istio:${nameOf(bearer.serviceAccount)}`,
  });
  const bundle = options.bundle();
  await options.handOut(svid, bundle, { instance: attestation.instance, node: bearer.node });
  const roots = bundle.x509Authorities.map((root) => encodePem('CERTIFICATE', root));
  return [...svid.chain.map((certificate) => encodePem('CERTIFICATE', certificate)), roots.join('')];
}

/** Whom the certificate is for: the bearer, or who runs beside a node agent. */
async function subjectOf(
  impersonated: string | null,
  bearer: TokenBearer,
  { trustDomain, nodeAgents, runningOn }: CertificateAuthorityOptions,
): Promise<{ attestation: Attestation; account: ServiceAccount }> {
  if (impersonated === null) return { attestation: bearer.attestation, account: bearer.serviceAccount };
  const asker = nameOf(bearer.serviceAccount);
  if (!nodeAgents.has(asker))
    throw new CarnetError('permission_denied', `${asker} is no node agent that may ask in another's name`);
  const account = accountOf(parseSpiffeId(impersonated), trustDomain);
  const attestation = await runningOn(bearer.node, account);
  if (attestation === undefined)
    throw new CarnetError('permission_denied', `nothing runs on node ${bearer.node} as ${nameOf(account)}`);
  return { attestation, account };
}

function accountOf(id: SpiffeId, trustDomain: TrustDomain): ServiceAccount {
  const [, namespace, name] = ACCOUNT_PATH.exec(pathOf(id)) ?? [];
  if (trustDomainOf(id) !== trustDomain || namespace === undefined || name === undefined)
    throw new CarnetError(
      'permission_denied',
      `${id} is no service account's identity in ${trustDomain}: it must end in /ns/NAMESPACE/sa/NAME`,
    );
  return { namespace, name };
}

function grantFor(
  account: ServiceAccount,
  attestation: Attestation,
  node: string,
  { trustDomain, grantsOf }: CertificateAuthorityOptions,
): Grant {
  const identity = spiffeIdOf(trustDomain, `/ns/${account.namespace}/sa/${account.name}`);
  const grant = grantsOf(attestation, node).find(({ spiffeId }) => spiffeId === identity);
  if (grant === undefined)
    throw new CarnetError(
      'permission_denied',
      `no registration entry grants ${identity} to ${nameOf(account)}`,
    );
  return grant;
}

/** Istio asks for a day where it is told nothing else: our entry's word is the bound. */
function lifeOf(grant: Grant, asked: number, defaultTtlSeconds: number): number {
  const granted = grant.ttlSeconds ?? defaultTtlSeconds;
  return asked > 0 ? Math.min(asked, granted) : granted;
}

function csrOf(pem: string): Uint8Array {
  if (pem.length > MAX_CSR_CHARACTERS)
    throw new CarnetError('invalid_argument', `the CSR is longer than ${MAX_CSR_CHARACTERS} characters`);
  const [csr, ...more] = decodePem('CERTIFICATE REQUEST', pem);
  if (csr === undefined || more.length > 0)
    throw new CarnetError('csr_malformed', 'the request must hold one CERTIFICATE REQUEST');
  return csr;
}

function nameOf({ namespace, name }: ServiceAccount): string {
  return `${namespace}/${name}`;
}
