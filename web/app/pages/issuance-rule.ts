import type { VNode } from 'preact';
import type { ExplainedRuleBody, ExplanationBody } from '../../../src/api/explanation.ts';
import type { IssuanceDetailsBody } from '../../../src/api/issuances.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Facts } from '../parts/facts.ts';
import { Trouble } from '../parts/notice.ts';
import { ExactTime } from '../parts/time.ts';
import type { Live } from '../rest/live.ts';

/** What became of each rule that was considered, in words. */
const OUTCOMES: Readonly<Record<ExplainedRuleBody['outcome'], { word: string; kind: string }>> = {
  granted: { word: 'granted this', kind: 'good' },
  granted_other: { word: 'granted another identity', kind: '' },
  shadowed: { word: 'came second', kind: '' },
  selectors_missing: { word: 'did not match', kind: '' },
  placeholder_unfilled: { word: 'could not be filled in', kind: 'warn' },
};

interface RuleProps {
  readonly record: IssuanceDetailsBody;
  readonly why: Live<ExplanationBody>;
}

/** Rules that are shown at once; the others are a click away. */
const SHOWN_RULES = 4;

/** The registration entry that granted it, as it was then, and who wrote it. */
export function IssuanceRule({ record, why }: RuleProps): VNode {
  const { granted_by: rule, requester } = record;
  if (rule === null)
    return html`<section class="card"><h2>Rule</h2><p>None: ${requester} had it made, for Carnet's own use.</p></section>`;
  const event = why.data?.rule_event;
  return html`
    <section class="card">
      <h2>Rule as it was</h2>
      <${Facts} of=${[
        [
          'Entry',
          html`<a href=${urlOf('/issuances', { entry: rule.id })}>${rule.id}</a>, version ${rule.version}`,
        ],
        ['Grants', rule.spiffe_id],
        ['To whoever has', html`<${Selectors} of=${rule.selectors} />`],
        ['DNS names', rule.dns_names.join(', ')],
        ['Lifetime', rule.ttl],
        ['Hint', rule.hint],
        ['Federates with', rule.federates_with.join(', ')],
        ['Written by', event?.actor],
        ['Written', event && html`<${ExactTime} at=${event.recorded_at} />`],
        ['Their reason', event?.reason],
      ]} />
    </section>
  `;
}

/** What each rule, as it stood then, meant for the holder. */
export function IssuanceReason({ why }: { why: Live<ExplanationBody> }): VNode {
  return html`
    <section class="card">
      <h2>Why it was given</h2>
      <${Trouble} of=${why} />
      ${why.data && html`<${Explanation} of=${why.data} />`}
    </section>
  `;
}

function Explanation({
  of: { selectors, selectors_from, rules, other_rules, remarks },
}: {
  of: ExplanationBody;
}): VNode {
  return html`
    ${remarks.map((remark) => html`<p>${remark}</p>`)}
    <h3>The holder had${selectors_from === 'derived' ? ', by what the evidence tells' : ''}</h3>
    <${Selectors} of=${selectors} />
    <h3>Rules that stood then</h3>
    <${Rules} of=${rules.slice(0, SHOWN_RULES)} />
    ${
      rules.length > SHOWN_RULES &&
      html`<details><summary>${rules.length - SHOWN_RULES} more rules</summary><${Rules} of=${rules.slice(SHOWN_RULES)} /></details>`
    }
    ${other_rules > 0 && html`<p class="quiet">Another ${other_rules} match less.</p>`}
  `;
}

function Rules({ of: rules }: { of: readonly ExplainedRuleBody[] }): VNode {
  return html`<ul class="rules">${rules.map((rule) => html`<li key=${rule.entry.id}><${Rule} of=${rule} /></li>`)}</ul>`;
}

function Rule({ of: { entry, outcome, identity, missing, unknown, why } }: { of: ExplainedRuleBody }): VNode {
  const { word, kind } = OUTCOMES[outcome];
  return html`
    <b>${entry.id}</b> <span class="badge ${kind}">${word}</span>
    ${outcome === 'granted_other' && html`<div class="quiet">${identity}</div>`}
    ${why !== null && html`<div class="quiet">${why}</div>`}
    ${missing.length > 0 && html`<div class="quiet">lacked <code>${missing.join(' ')}</code></div>`}
    ${unknown.length > 0 && html`<div class="quiet">not on record: <code>${unknown.join(' ')}</code></div>`}
  `;
}

function Selectors({ of: selectors }: { of: readonly string[] }): VNode {
  return html`<ul class="plain">${selectors.map((one) => html`<li><code>${one}</code></li>`)}</ul>`;
}
