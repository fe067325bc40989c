import type { ProxyView } from './proxies.ts';

/** How a proxy fares, the worst first; of several the worst is said. */
export const PROXY_STATES = ['refused', 'waiting', 'behind', 'current'] as const;
/**
 * `refused`: it answered the newest version of something by a refusal; `waiting`: it asks for a name that it does not
 * get; `behind`: it has not acknowledged all that it was sent; `current`: none of these.
 */
export type ProxyState = (typeof PROXY_STATES)[number];

/** A stream of the Workload API can't acknowledge: it is never behind. */
export function proxyState({ protocol, resources, waiting }: ProxyView): ProxyState {
  if (resources.some(({ lastError }) => lastError !== null)) return 'refused';
  if (waiting.length > 0) return 'waiting';
  const isBehind = resources.some(
    ({ versionSent, versionAcknowledged }) => versionSent !== null && versionSent !== versionAcknowledged,
  );
  return protocol !== 'workload-api' && isBehind ? 'behind' : 'current';
}
