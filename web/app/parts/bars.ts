import type { VNode } from 'preact';
import { html } from '../html.ts';

export interface Bar {
  /** Of the row in the table, and of the bar. */
  readonly label: string;
  readonly count: number;
}

interface BarsProps {
  /** What is counted, for those who don't see it: `Issuances by hour`. */
  readonly title: string;
  readonly bars: readonly Bar[];
  /** Under the first and the last bar. */
  readonly ends: readonly [first: string, last: string];
}

/** The units of the drawing, which takes its size from its place. */
const WIDTH = 240;
const HEIGHT = 64;
const GAP = 0.25;

/** Amounts side by side, and the same as a table for whoever wants the numbers. */
export function Bars({ title, bars, ends }: BarsProps): VNode {
  const most = Math.max(1, ...bars.map(({ count }) => count));
  const step = WIDTH / Math.max(1, bars.length);
  const summary = `${title}: ${bars.length} bars, at most ${countText(Math.max(0, ...bars.map(({ count }) => count)))}`;
  return html`
    <figure class="bars">
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${summary}>
        ${bars.map(({ label, count }, index) => {
          const height = count === 0 ? 0 : Math.max(1, (count / most) * HEIGHT);
          return html`<rect key=${index} x=${index * step} y=${HEIGHT - height} width=${step * (1 - GAP)} height=${height}>
            <title>${label}: ${countText(count)}</title></rect>`;
        })}
      </svg>
      <div class="ends quiet" aria-hidden="true"><span>${ends[0]}</span><span>${ends[1]}</span></div>
      <details>
        <summary>As a table</summary>
        <table>
          <caption class="unseen">${title}</caption>
          <thead><tr><th scope="col">When</th><th scope="col" class="numeric">How many</th></tr></thead>
          <tbody>${bars.map(({ label, count }) => html`<tr><th scope="row">${label}</th><td class="numeric">${countText(count)}</td></tr>`)}</tbody>
        </table>
      </details>
    </figure>
  `;
}

/** `1,234,567`. */
export function countText(count: number): string {
  return count.toLocaleString('en');
}
