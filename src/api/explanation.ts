import { z } from 'zod';
import { timestampOf } from '../audit/cursor.ts';
import {
  type EntryVersion,
  type ExplainedRule,
  type Explanation,
  type ExplanationSource,
  explainIssuance,
} from '../audit/explanation.ts';
import { CarnetError } from '../errors.ts';
import { Entry, entryBody } from './entries.ts';
import { SerialInput, Time, timeText } from './fields.ts';
import { eventBody, OperatorEvent } from './operator-events.ts';
import { defineRoute, type Route } from './route.ts';

const ExplainedRuleBody = z
  .strictObject({
    entry: Entry.meta({ description: 'As it was' }),
    written_by: z.string().meta({ description: 'Who made this version' }),
    written_at: Time,
    outcome: z
      .enum(['granted', 'granted_other', 'shadowed', 'selectors_missing', 'placeholder_unfilled'])
      .meta({
        description:
          '`granted`: this issuance; `granted_other`: another identity to the same holder; `shadowed`: an identity that another rule, which comes first, gave; else why it gave none',
      }),
    identity: z.string().nullable().meta({ description: 'What it gives; null where it gives nothing' }),
    missing: z
      .array(z.string())
      .meta({ description: 'Of its selectors, those that the holder did not have' }),
    unknown: z.array(z.string()).meta({ description: 'Those of which the evidence does not say' }),
    why: z.string().nullable(),
  })
  .meta({ id: 'ExplainedRule' });

const ExplanationBody = z
  .strictObject({
    serial: z.string(),
    identity: z.string(),
    profile: z.string(),
    requester: z.string(),
    node: z.string().nullable(),
    instance: z.string().nullable(),
    recorded_at: Time,
    evidence: z.record(z.string(), z.unknown()).nullable(),
    selectors: z
      .array(z.string())
      .meta({ description: 'Of the holder, as the rules were held against them' }),
    selectors_from: z.enum(['recorded', 'derived', 'none']).meta({
      description:
        '`recorded` with the issuance; `derived` from older evidence, which has not all; or `none` known',
    }),
    rules: z.array(ExplainedRuleBody).meta({
      description:
        'As they stood then: the one that granted it, others that match, those that lack least; 20 at most',
    }),
    other_rules: z.int().meta({ description: 'That stood then, and match less than those listed' }),
    rule_event: OperatorEvent.nullable().meta({
      description: 'By which the version that granted it was written; null where no rule did, or none tells',
    }),
    remarks: z.array(z.string()),
  })
  .meta({ id: 'Explanation' });

export type ExplanationBody = z.output<typeof ExplanationBody>;
export type ExplainedRuleBody = z.output<typeof ExplainedRuleBody>;

export function explanationRoutes(source: ExplanationSource): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/issuances/{serial}/explanation',
      name: 'explainIssuance',
      access: 'auditor',
      evidence: true,
      summary: 'Explain why a certificate was issued',
      description:
        'What was seen of its holder, and what each registration entry, as it stood at that moment, meant for it. Later changes do not change the answer.',
      params: z.strictObject({ serial: SerialInput }),
      response: ExplanationBody,
      handle: async ({ params: { serial } }) => {
        const explanation = await explainIssuance(source, serial);
        if (explanation === undefined)
          throw new CarnetError('not_found', `no certificate with the serial ${serial} is on record`);
        return explanationBody(explanation);
      },
    }),
  ];
}

function explanationBody(explanation: Explanation): z.input<typeof ExplanationBody> {
  const { issuance, then, rules, otherRules, writtenBy, remarks } = explanation;
  const { serial, identity, profile, requester, node, instance, evidence } = issuance;
  return {
    serial,
    identity,
    profile,
    requester,
    node,
    instance,
    recorded_at: timestampOf(issuance.recordedAtMicros),
    evidence,
    selectors: [...then.selectors],
    selectors_from: then.source,
    rules: rules.map(ruleBody),
    other_rules: otherRules,
    rule_event: writtenBy && eventBody(writtenBy),
    remarks: [...remarks],
  };
}

function ruleBody({ version, outcome, identity, missing, unknown, why }: ExplainedRule) {
  const { entry, actor, recordedAt }: EntryVersion = version;
  return {
    entry: entryBody(entry),
    written_by: actor,
    written_at: timeText(recordedAt),
    outcome,
    identity,
    missing: [...missing],
    unknown: [...unknown],
    why,
  };
}
