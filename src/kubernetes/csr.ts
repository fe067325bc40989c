import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { decodePem } from '../x509/pem.ts';
import type { PodClaim } from './pod-claim.ts';

/** What we keep of a `certificates.k8s.io/v1` CertificateSigningRequest. */
export interface CertificateSigningRequest {
  readonly name: string;
  readonly uid: string;
  readonly username: string;
  readonly extra: Readonly<Record<string, readonly string[]>>;
  /** PEM. */
  readonly request: string;
  readonly usages: readonly string[];
  readonly expirationSeconds: number | null;
  /** Somebody, perhaps we, has approved it. */
  readonly approved: boolean;
}

const CSR = z.object({
  metadata: z.object({ name: z.string(), uid: z.string() }),
  spec: z.object({
    username: z.string().default(''),
    extra: z.record(z.string(), z.array(z.string())).default({}),
    request: z.string(),
    usages: z.array(z.string()).default([]),
    expirationSeconds: z.number().optional(),
  }),
  status: z
    .object({
      certificate: z.string().optional(),
      conditions: z.array(z.object({ type: z.string() })).default([]),
    })
    .default({ conditions: [] }),
});

/** What a leaf of ours says. `key encipherment` is only for TLS without forward secrecy. */
const USAGES = new Set(['digital signature', 'server auth', 'client auth']);
const SERVICE_ACCOUNT = /^system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})$/;
const EXTRA = 'authentication.kubernetes.io/';

/** Reads one as the API server sends it; null for one that is signed, denied or failed already. */
export function csrOf(object: unknown): CertificateSigningRequest | null {
  const { metadata, spec, status } = CSR.parse(object);
  const conditions = new Set(status.conditions.map(({ type }) => type));
  if (status.certificate !== undefined || conditions.has('Denied') || conditions.has('Failed')) return null;
  return {
    ...metadata,
    username: spec.username,
    extra: spec.extra,
    request: Buffer.from(spec.request, 'base64').toString('latin1'),
    usages: spec.usages,
    expirationSeconds: spec.expirationSeconds ?? null,
    approved: conditions.has('Approved'),
  };
}

/**
 * The pod that asks, which is what its token is bound to: the API server writes who made the request into it
 * (`spec.username`, `spec.extra`), and nobody can change that. Throws `permission_denied` for any other requester.
 */
export function claimOfCsr({ username, extra }: CertificateSigningRequest): PodClaim {
  const [, namespace, serviceAccount] = SERVICE_ACCOUNT.exec(username) ?? [];
  if (namespace === undefined || serviceAccount === undefined)
    throw new CarnetError(
      'permission_denied',
      `${JSON.stringify(username.slice(0, 200))} is no service account: make the request with a pod's token`,
    );
  const [podName, podUid] = [single(extra, 'pod-name'), single(extra, 'pod-uid')];
  if (podName === null || podUid === null)
    throw new CarnetError(
      'permission_denied',
      `the token of ${username} is bound to no pod: make the request with a projected token of the pod itself`,
    );
  return { namespace, serviceAccount, podName, podUid, node: single(extra, 'node-name') };
}

/** The PKCS#10 request, DER. Throws `invalid_argument` for usages that our leaves don't have, `csr_malformed`. */
export function derOfCsr({ usages, request }: CertificateSigningRequest): Uint8Array {
  const foreign = usages.filter((usage) => !USAGES.has(usage));
  if (foreign.length > 0)
    throw new CarnetError(
      'invalid_argument',
      `usages ${foreign.join(', ')} are not given; ask for some of ${[...USAGES].join(', ')}`,
    );
  try {
    const [der, ...others] = decodePem('CERTIFICATE REQUEST', request);
    if (der !== undefined && others.length === 0) return der;
  } catch (cause) {
    throw new CarnetError('csr_malformed', `spec.request: ${(cause as Error).message}`, { cause });
  }
  throw new CarnetError('csr_malformed', 'spec.request must hold one CERTIFICATE REQUEST in PEM');
}

/** As asked, but never longer than what was granted. */
export function ttlOfCsr({ expirationSeconds }: CertificateSigningRequest, grantedSeconds: number): number {
  return Math.min(expirationSeconds ?? grantedSeconds, grantedSeconds);
}

/** A fact that the API server found of the requester; null unless there is just one. */
function single(extra: CertificateSigningRequest['extra'], name: string): string | null {
  const values = extra[`${EXTRA}${name}`] ?? [];
  return values.length === 1 ? (values[0] ?? null) : null;
}
