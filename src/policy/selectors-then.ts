import { parseSelector, type Selector } from '../identity/selector.ts';

/** What the evidence of an issuance says of its holder's selectors. */
export interface SelectorsThen {
  /** Sorted, without repeats. */
  readonly selectors: readonly Selector[];
  /**
   * `recorded`: what the rules were held against. `derived`: from the facts that evidence of an older version has, which are
   * not all; then a selector that isn't among them may have been there. `none`: there is no evidence of any.
   */
  readonly source: 'recorded' | 'derived' | 'none';
}

/** Kinds of which older evidence has all that there were: what it lacks of them was not there. */
const WHOLE_IN_OLD_EVIDENCE = [
  'unix:uid:',
  'unix:gid:',
  'unix:supplementary_gid:',
  'unix:sha256:',
  'container:id:',
  'systemd:unit:',
];

/** Reads evidence, which others wrote: what has not the form that it should is passed over. */
export function selectorsThen(evidence: Readonly<Record<string, unknown>> | null): SelectorsThen {
  if (evidence === null) return { selectors: [], source: 'none' };
  if (Array.isArray(evidence.selectors))
    return {
      selectors: selectorsOf(evidence.selectors),
      // Of those that were left out nothing is known.
      source: evidence.selectors_left_out === undefined ? 'recorded' : 'derived',
    };
  const selectors = derive(evidence);
  return { selectors, source: selectors.length > 0 ? 'derived' : 'none' };
}

/** Whether a selector that is not among `then` may have been there all the same. */
export function mayHaveBeen(selector: Selector, then: SelectorsThen): boolean {
  if (then.source === 'recorded') return false;
  return !WHOLE_IN_OLD_EVIDENCE.some((kind) => selector.startsWith(kind));
}

function derive(evidence: Readonly<Record<string, unknown>>): Selector[] {
  const [kubernetes, docker, systemd] = [evidence.kubernetes, evidence.docker, evidence.systemd].map(
    fieldsOf,
  );
  const gids = Array.isArray(evidence.supplementary_gids) ? evidence.supplementary_gids : [];
  const found: readonly (readonly [key: string, value: unknown])[] = [
    ['unix:uid', evidence.uid],
    ['unix:gid', evidence.gid],
    ...gids.map((gid) => ['unix:supplementary_gid', gid] as const),
    ['unix:sha256', evidence.executable_sha256],
    ['container:id', evidence.container_id],
    ['systemd:unit', systemd?.unit],
    ['k8s:ns', kubernetes?.namespace],
    ['k8s:sa', kubernetes?.service_account],
    ['k8s:pod-name', kubernetes?.pod_name ?? kubernetes?.pod],
    ['k8s:pod-uid', kubernetes?.pod_uid],
    ['k8s:node-name', kubernetes?.node_name],
    ['k8s:container-name', kubernetes?.container_name],
    ['k8s:container-image-digest', kubernetes?.container_image_digest],
    ['docker:image_config_digest', docker?.image_config_digest],
  ];
  return selectorsOf(found.flatMap(([key, value]) => textOf(value).map((text) => `${key}:${text}`)));
}

function selectorsOf(texts: readonly unknown[]): Selector[] {
  const parsed = texts.flatMap((text) => {
    try {
      return typeof text === 'string' ? [parseSelector(text)] : [];
    } catch {
      return [];
    }
  });
  return [...new Set(parsed)].sort();
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}

function textOf(value: unknown): string[] {
  return typeof value === 'string' || typeof value === 'number' ? [String(value)] : [];
}
