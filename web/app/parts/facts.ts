import type { ComponentChildren, VNode } from 'preact';
import { html } from '../html.ts';

export type Fact = readonly [name: string, value: ComponentChildren];

/** Names and values; what has no value is left out. */
export function Facts({ of: facts }: { of: readonly Fact[] }): VNode {
  const given = facts.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return html`<dl class="facts">${given.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** What JSON says, as names and values: those within others by their path, lists on one line. */
export function factsOf(json: Readonly<Record<string, unknown>>, path = ''): Fact[] {
  return Object.entries(json).flatMap(([name, value]): Fact[] => {
    const label = `${path}${name.replaceAll('_', ' ')}`;
    if (Array.isArray(value) && value.every((one) => typeof one !== 'object'))
      return [[label, value.join(', ')]];
    if (Array.isArray(value)) return [[label, value.map((one) => JSON.stringify(one)).join(', ')]];
    if (typeof value === 'object' && value !== null)
      return factsOf(value as Record<string, unknown>, `${label} · `);
    return [[label, value === null ? null : String(value)]];
  });
}
