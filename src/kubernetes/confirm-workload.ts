import type { ConfirmWorkload } from '../agent/server/issue-service.ts';
import type { Attestation } from '../attestation/attestation.ts';
import { CarnetError } from '../errors.ts';
import type { Selector } from '../identity/selector.ts';
import { type ClusterNodes, unconfirmed } from './cluster-nodes.ts';
import type { ClusterPods } from './cluster-pods.ts';
import { selectorsOfPod } from './pod.ts';
import { faultOf, type PodClaim } from './pod-claim.ts';
import type { RunningPod } from './running-pod.ts';

/** What selectors of the workload and, behind `node:`, of its agent's node begin with. */
const OF_POD = 'k8s:';
const OF_NODE = 'node:k8s:';
/** The node's own word, on which no other is to be had: what is in a pod's status is written by its node's kubelet. */
const OF_IMAGE = /^k8s:container-image(?:-digest)?:/;
/** RFC 1123: a label; a subdomain. What is none must not get into a path of the API. */
const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const POD_NAME = /^[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?$/;
const MAX_TOLD = 3;

/**
 * Confirms by the API server's word what an agent says of a pod: that there is one, with this UID and service account, on
 * the agent's own node, that it has not ended, and each of its labels and the names of its containers. What is not so
 * does not count. The agent's node is the one that its attestation showed, and one of this same cluster.
 *
 * What was last heard of a pod is believed; before a refusal it is asked for anew.
 */
export function createConfirmWorkload(pods: ClusterPods, nodes: ClusterNodes): ConfirmWorkload {
  return async (agent, attestation) => {
    const claims = attestation.selectors.filter((selector) => selector.startsWith(OF_POD));
    if (claims.length === 0) return { attestation, doubt: null };
    try {
      const node = await nodeOf(agent, attestation.selectors, nodes);
      const claim = claimOf(attestation.selectors, node);
      const pod = await podOfClaim(claim, claims, pods);
      const missing = missingOf(claims, claim, pod);
      const doubt = missing.length === 0 ? null : unconfirmed(`${nameOf(claim)} has no ${told(missing)}`);
      return { attestation: without(attestation, missing), doubt };
    } catch (doubt) {
      if (!(doubt instanceof CarnetError)) throw doubt;
      return { attestation: without(attestation, claims), doubt };
    }
  };
}

/** The node that an agent runs on. One of another cluster may have the same name, and has another UID. */
async function nodeOf(agent: string, selectors: readonly Selector[], nodes: ClusterNodes): Promise<string> {
  const node = only(selectors, `${OF_NODE}node-name:`);
  if (node === null)
    throw unconfirmed(
      `the agent of ${agent} has not shown that it is on a node of the cluster: what it says of pods counts for nothing`,
    );
  // An operator's join token says the name alone.
  const uid = only(selectors, `${OF_NODE}node-uid:`);
  if (uid !== null) await nodes.check(node, uid);
  return node;
}

function claimOf(selectors: readonly Selector[], node: string): PodClaim {
  const fact = (name: string): string => {
    const value = only(selectors, `${OF_POD}${name}:`);
    if (value === null) throw unconfirmed(`a pod is claimed without one ${OF_POD}${name}`);
    return value;
  };
  const claim = {
    namespace: fact('ns'),
    podName: fact('pod-name'),
    podUid: fact('pod-uid'),
    serviceAccount: fact('sa'),
    node,
  };
  if (!NAMESPACE.test(claim.namespace) || !POD_NAME.test(claim.podName))
    throw unconfirmed(
      `${JSON.stringify(`${claim.namespace}/${claim.podName}`.slice(0, 320))} is no pod's name`,
    );
  return claim;
}

/** The pod that is claimed, as it was heard of where that will do, else as it is now. Throws `attestation_failed`. */
async function podOfClaim(
  claim: PodClaim,
  claims: readonly Selector[],
  pods: ClusterPods,
): Promise<RunningPod> {
  const named = { namespace: claim.namespace, name: claim.podName };
  const known = pods.known(named);
  const isAsClaimed = (pod: RunningPod) =>
    problemOf(claim, pod) === null && missingOf(claims, claim, pod).length === 0;
  if (known !== undefined && isAsClaimed(known)) return known;
  const pod = await pods.ask(named);
  const problem = problemOf(claim, pod);
  if (pod === null || problem !== null) throw unconfirmed(problem ?? '');
  return pod;
}

/** A static pod's node knows it by another UID than the API. */
function problemOf(claim: PodClaim, pod: RunningPod | null): string | null {
  const isStatic = pod !== null && pod.manifestHash === claim.podUid;
  return faultOf(claim, isStatic ? { ...pod, uid: claim.podUid } : pod);
}

/** What is claimed and not so. */
function missingOf(claims: readonly Selector[], claim: PodClaim, pod: RunningPod): Selector[] {
  const facts = new Set<string>([
    ...selectorsOfPod({ ...pod, uid: claim.podUid }),
    ...pod.containers.map((name) => `k8s:container-name:${name}`),
  ]);
  return claims.filter((selector) => !facts.has(selector) && !OF_IMAGE.test(selector));
}

function without(attestation: Attestation, refuted: readonly Selector[]): Attestation {
  const selectors = attestation.selectors.filter((selector) => !refuted.includes(selector));
  return { ...attestation, selectors };
}

/** The value of the one selector that begins so; null where there is none, or there are several. */
function only(selectors: readonly Selector[], prefix: string): string | null {
  const [found, ...others] = selectors.filter((selector) => selector.startsWith(prefix));
  return found === undefined || others.length > 0 ? null : found.slice(prefix.length);
}

function nameOf({ namespace, podName }: PodClaim): string {
  return `the pod ${namespace}/${podName}`;
}

function told(selectors: readonly Selector[]): string {
  const rest = selectors.length - MAX_TOLD;
  return selectors.slice(0, MAX_TOLD).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
