import type { Selector } from '../identity/selector.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import { type Decision, explain } from '../policy/authorize.ts';
import type { RegistrationEntry } from '../policy/entry.ts';
import { mayHaveBeen, type SelectorsThen, selectorsThen } from '../policy/selectors-then.ts';
import type { RecordedOperatorEvent } from './operator-event.ts';
import type { RecordedIssuance } from './query.ts';

/** How many rules are listed: all that match come first, then those that lack least. */
export const MAX_EXPLAINED_RULES = 20;

/** A version of an entry, and who made it when. */
export interface EntryVersion {
  readonly entry: RegistrationEntry;
  readonly actor: string;
  readonly recordedAt: Date;
}

/** The entries that were live at one moment. */
export interface RulesThen {
  /** Those of which least is missing among the selectors, first; at most as many as were asked for. */
  readonly closest: readonly EntryVersion[];
  /** How many there were in all. */
  readonly count: number;
}

/** History as an explanation reads it. */
export interface ExplanationSource {
  /** By serial, lower-case hex. */
  get(serial: string): Promise<RecordedIssuance | undefined>;
  /** The last version of each entry that was recorded by then and did not delete it. */
  rulesThen(micros: bigint, selectors: readonly Selector[], limit: number): Promise<RulesThen>;
  /** One version; null where there is none. */
  version(entryId: string, version: number): Promise<EntryVersion | null>;
  /** The operator event that tells of the version's making; null where there is none. */
  eventOf(version: EntryVersion): Promise<RecordedOperatorEvent | null>;
}

/**
 * `granted`: this issuance. `granted_other`: by the same selectors, the identity that it says. `shadowed`: that one, but
 * another rule that comes first did. `selectors_missing`: it didn't match. `placeholder_unfilled`: it did, but its ID could
 * not be made.
 */
export type Outcome = 'granted' | 'granted_other' | 'shadowed' | 'selectors_missing' | 'placeholder_unfilled';

export interface ExplainedRule {
  readonly version: EntryVersion;
  readonly outcome: Outcome;
  /** What it grants or would have; null where that isn't known. */
  readonly identity: SpiffeId | null;
  /** Of its selectors, those that the holder did not have. */
  readonly missing: readonly Selector[];
  /** Those of which evidence does not say whether the holder had them. */
  readonly unknown: readonly Selector[];
  /** Why a placeholder was not filled, or which entry came first; else null. */
  readonly why: string | null;
}

/** Why a certificate was issued, by what was on record at that time: what came later does not change it. */
export interface Explanation {
  readonly issuance: RecordedIssuance;
  readonly then: SelectorsThen;
  readonly rules: readonly ExplainedRule[];
  /** Rules that were live then and are not listed: they match less than those that are. */
  readonly otherRules: number;
  /** Who wrote the version that granted it; null where no rule did, or no event tells. */
  readonly writtenBy: RecordedOperatorEvent | null;
  /** What the reader must know besides. */
  readonly remarks: readonly string[];
}

/** By serial, lower-case hex; undefined for one that is not on record. */
export async function explainIssuance(
  source: ExplanationSource,
  serial: string,
): Promise<Explanation | undefined> {
  const issuance = await source.get(serial);
  if (issuance === undefined) return undefined;
  const then = selectorsThen(issuance.evidence);
  const { entryId, entryVersion, recordedAtMicros } = issuance;
  if (entryId === null || entryVersion === null)
    return { issuance, then, rules: [], otherRules: 0, writtenBy: null, remarks: [withoutRule(issuance)] };
  const [rules, { granting, writtenBy }] = await Promise.all([
    source.rulesThen(recordedAtMicros, then.selectors, MAX_EXPLAINED_RULES),
    grantingVersion(source, entryId, entryVersion),
  ]);
  const others = rules.closest.filter(({ entry }) => entry.id !== entryId);
  const listed = granting === null ? others : [granting, ...others];
  const newer = rules.closest.find(({ entry }) => entry.id === entryId && entry.version !== entryVersion);
  return {
    issuance,
    then,
    rules: explainRules(issuance, then, listed),
    otherRules: Math.max(0, rules.count - rules.closest.length),
    writtenBy,
    remarks: [...sourceRemarks(then), ...versionRemarks(issuance, granting, newer)],
  };
}

async function grantingVersion(source: ExplanationSource, entryId: string, version: number) {
  const granting = await source.version(entryId, version);
  return { granting, writtenBy: granting && (await source.eventOf(granting)) };
}

function explainRules(
  { identity, entryId }: RecordedIssuance,
  then: SelectorsThen,
  versions: readonly EntryVersion[],
): ExplainedRule[] {
  const byId = new Map(versions.map((version) => [version.entry.id, version]));
  const decisions = explain(
    then.selectors,
    versions.map(({ entry }) => entry),
  );
  const rules = decisions.flatMap((decision): ExplainedRule[] => {
    const version = byId.get(decision.entry.id);
    if (version === undefined) return [];
    const rule = { version, ...explained(decision, then) };
    // That it did is on record; evidence may not have all of the reasons.
    return [
      decision.entry.id === entryId ? { ...rule, outcome: 'granted', identity: identity as SpiffeId } : rule,
    ];
  });
  const rank = ({ outcome, missing }: ExplainedRule): number =>
    outcome === 'granted' ? -2 : outcome === 'selectors_missing' ? missing.length : -1;
  return rules.sort((a, b) => rank(a) - rank(b));
}

function explained(decision: Decision, then: SelectorsThen): Omit<ExplainedRule, 'version'> {
  const nothing = { identity: null, missing: [], unknown: [], why: null };
  switch (decision.outcome) {
    case 'granted':
      return { ...nothing, outcome: 'granted_other', identity: decision.spiffeId };
    case 'shadowed':
      return {
        ...nothing,
        outcome: 'shadowed',
        identity: decision.spiffeId,
        why: `${decision.by} comes first`,
      };
    case 'placeholder_unfilled':
      return { ...nothing, outcome: 'placeholder_unfilled', why: decision.fault };
    case 'selectors_missing': {
      const unknown = decision.missing.filter((selector) => mayHaveBeen(selector, then));
      const missing = decision.missing.filter((selector) => !unknown.includes(selector));
      return { ...nothing, outcome: 'selectors_missing', missing, unknown };
    }
  }
}

function withoutRule({ profile, requester }: RecordedIssuance): string {
  return `no rule granted it: a certificate of the profile ${profile} is Carnet's own, and ${requester} asked for it`;
}

function sourceRemarks({ source }: SelectorsThen): string[] {
  if (source === 'recorded') return [];
  return [
    source === 'derived'
      ? 'the evidence has not all selectors: these are what follows from its facts, and what is unknown may have been there'
      : 'the evidence has no selectors: only what is on record of the rule itself is certain',
  ];
}

function versionRemarks(
  { entryId, entryVersion }: RecordedIssuance,
  granting: EntryVersion | null,
  newer: EntryVersion | undefined,
): string[] {
  if (granting === null) return [`version ${entryVersion} of the entry ${entryId} is not on record`];
  if (newer === undefined) return [];
  return [
    `version ${newer.entry.version} of ${entryId} was on record by then, and the server had not heard of it yet`,
  ];
}
