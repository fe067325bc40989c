import type { Attestation } from '../attestation/attestation.ts';
import { CarnetError } from '../errors.ts';
import type { Selector } from '../identity/selector.ts';
import type { Grant } from '../policy/entry.ts';
import { ApiError, type KubernetesClient } from './client.ts';
import { type Pod, podOf, selectorsOfPod } from './pod.ts';

/** The pod that a request is made for, by the word of the API server. */
export interface PodClaim {
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
  readonly serviceAccount: string;
  /** Null where the requester's token was bound before its pod had one. */
  readonly node: string | null;
}

export interface PodAuthority {
  readonly client: KubernetesClient;
  readonly authorize: (selectors: readonly Selector[]) => readonly Grant[];
}

/** What a pod may have, and what is put on record of it. */
export interface PodGrant {
  readonly grant: Grant;
  readonly attestation: Attestation;
  readonly node: string;
}

/**
 * The identity of the pod that is claimed: the first that the entries grant it, as for any caller; null where none
 * does. `request` goes on record as evidence. Throws as {@link attestPod} does.
 */
export async function grantOfPod(
  claim: PodClaim,
  { client, authorize }: PodAuthority,
  request: Readonly<Record<string, unknown>>,
): Promise<PodGrant | null> {
  const { attestation, node } = await attestPod(claim, client, request);
  const [grant] = authorize(attestation.selectors);
  return grant === undefined ? null : { grant, attestation, node };
}

/**
 * The pod that is claimed, asked for anew, so that one which is gone, or another of its name, is refused. Throws
 * `permission_denied`, saying why; what the API server answers when it can't tell (`unavailable`…).
 */
export async function attestPod(
  claim: PodClaim,
  client: KubernetesClient,
  request: Readonly<Record<string, unknown>>,
): Promise<{ readonly attestation: Attestation; readonly node: string }> {
  const pod = await readPod(claim, client);
  const fault = faultOf(claim, pod);
  if (fault !== null || pod === null || pod.node === null) throw denied(fault ?? 'it is on no node yet');
  const { namespace, name, uid, serviceAccount: service_account, node } = pod;
  const evidence = { kubernetes: { namespace, pod: name, pod_uid: uid, service_account, node, request } };
  return { attestation: { instance: `pod:${uid}`, selectors: selectorsOfPod(pod), evidence }, node };
}

async function readPod({ namespace, podName }: PodClaim, client: KubernetesClient): Promise<Pod | null> {
  try {
    return podOf(await client.get(`/api/v1/namespaces/${namespace}/pods/${podName}`));
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** Why the pod is not the one that is claimed, or can have nothing; null where it can. */
export function faultOf(claim: PodClaim, pod: Pod | null): string | null {
  const named = `the pod ${claim.namespace}/${claim.podName}`;
  if (pod === null) return `${named} is gone`;
  if (pod.uid !== claim.podUid) return `${named} has UID ${pod.uid}, not ${claim.podUid}: it was made anew`;
  if (pod.serviceAccount !== claim.serviceAccount)
    return `${named} runs as service account ${pod.serviceAccount}, not ${claim.serviceAccount}`;
  if (pod.node === null) return `${named} is on no node yet`;
  if (claim.node !== null && pod.node !== claim.node)
    return `${named} is on node ${pod.node}, not ${claim.node}`;
  return pod.ended ? `${named} has ended` : null;
}

/** The refusal of a pod for which there is no grant. */
export function withoutGrant({ namespace, podName, serviceAccount }: PodClaim): CarnetError {
  return denied(
    `no registration entry grants an identity to the pod ${namespace}/${podName} of service account ${serviceAccount}`,
  );
}

function denied(why: string): CarnetError {
  return new CarnetError('permission_denied', why);
}
