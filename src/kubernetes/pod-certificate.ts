import { z } from 'zod';
import type { PossessionProof } from '../ca/possession.ts';
import { CarnetError } from '../errors.ts';
import type { PodClaim } from './pod-claim.ts';

/** What we keep of a `certificates.k8s.io/v1beta1` PodCertificateRequest: the kubelet asks on behalf of its pod. */
export interface PodCertificateRequest {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly claim: PodClaim & { readonly node: string };
  readonly maxExpirationSeconds: number;
  readonly proof: PossessionProof;
  /** Keys of `unverifiedUserAnnotations`. */
  readonly annotations: readonly string[];
}

const REQUEST = z.object({
  metadata: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }),
  spec: z.object({
    podName: z.string(),
    podUID: z.string(),
    serviceAccountName: z.string(),
    nodeName: z.string(),
    maxExpirationSeconds: z.number().default(86_400),
    pkixPublicKey: z.string(),
    proofOfPossession: z.string(),
    unverifiedUserAnnotations: z.record(z.string(), z.string()).default({}),
  }),
  status: z
    .object({ conditions: z.array(z.object({ type: z.string() })).default([]) })
    .default({ conditions: [] }),
});

/** The API server takes no shorter life. */
const LEAST_LIFE_SECONDS = 3600;
/** The API server wants the beginning of the refresh to be this far from either end. */
const REFRESH_MARGIN_MS = 10 * 60_000;

/** Reads one as the API server sends it; null for one that is answered already. */
export function podCertificateRequestOf(object: unknown): PodCertificateRequest | null {
  const { metadata, spec, status } = REQUEST.parse(object);
  if (status.conditions.length > 0) return null;
  return {
    ...metadata,
    claim: {
      namespace: metadata.namespace,
      podName: spec.podName,
      podUid: spec.podUID,
      serviceAccount: spec.serviceAccountName,
      node: spec.nodeName,
    },
    maxExpirationSeconds: spec.maxExpirationSeconds,
    proof: {
      spki: Buffer.from(spec.pkixPublicKey, 'base64'),
      // The proof is a signature over the pod's UID, in ASCII (KEP-4317).
      signed: Buffer.from(spec.podUID, 'ascii'),
      signature: Buffer.from(spec.proofOfPossession, 'base64'),
    },
    annotations: Object.keys(spec.unverifiedUserAnnotations),
  };
}

/** Throws `invalid_argument` for annotations, of which we know none: signers are to refuse what they don't understand. */
export function checkAnnotations({ annotations }: PodCertificateRequest): void {
  if (annotations.length > 0)
    throw new CarnetError(
      'invalid_argument',
      `this signer knows no unverifiedUserAnnotations, not ${annotations.join(', ').slice(0, 200)}`,
    );
}

/**
 * How long the leaf is to live from now, so that its whole life, which begins `backdateSeconds` ago, is neither longer
 * than asked for nor shorter than the hour that the API server insists on. Throws `invalid_argument` where the entry
 * grants less than that.
 */
export function ttlOfPodCertificate(
  { maxExpirationSeconds }: PodCertificateRequest,
  grantedSeconds: number,
  backdateSeconds: number,
): number {
  const ttlSeconds = Math.min(maxExpirationSeconds - backdateSeconds, grantedSeconds);
  if (ttlSeconds + backdateSeconds < LEAST_LIFE_SECONDS)
    throw new CarnetError(
      'invalid_argument',
      `certificates of this pod live ${grantedSeconds} s, and a PodCertificateRequest is for no less than an hour: make the entry's ttl or --leaf-ttl longer, or use the agent`,
    );
  return ttlSeconds;
}

interface Life {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** At half of the life. Throws `authority_unavailable` where the issuer's end has cut it too short for a pod. */
export function beginRefreshAt({ notBefore, notAfter }: Life): Date {
  const [begin, end] = [notBefore.getTime(), notAfter.getTime()];
  if (end - begin < LEAST_LIFE_SECONDS * 1000)
    throw new CarnetError(
      'authority_unavailable',
      `the issuing CA ends too soon: a leaf until ${notAfter.toISOString()} lives for less than an hour`,
    );
  const half = begin + (end - begin) / 2;
  return new Date(Math.min(Math.max(half, begin + REFRESH_MARGIN_MS), end - REFRESH_MARGIN_MS));
}
