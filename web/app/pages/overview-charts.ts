import type { VNode } from 'preact';
import type { ExpiriesBody, ReportBody } from '../../../src/api/reports.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { type Bar, Bars, countText } from '../parts/bars.ts';
import { explain } from '../parts/notice.ts';
import { Tile } from '../parts/tile.ts';
import { exactTime, useNow } from '../parts/time.ts';
import { type Live, useLive } from '../rest/live.ts';

const HOUR_MS = 3_600_000;
const HOURS = 24;
const REFRESH_SECONDS = 30;

/** How many were issued in each of the last 24 hours, this one included. */
export function IssuanceChart(): VNode {
  const end = nextHour(useNow());
  const from = new Date(end - HOURS * HOUR_MS).toISOString();
  const live = useLive<ReportBody>(
    `/v1/reports/issuances?by=hour&from=${from}&to=${new Date(end).toISOString()}`,
    REFRESH_SECONDS,
  );
  const counts = new Map(live.data?.items.map(({ key, issued }) => [Date.parse(key ?? ''), issued]));
  const bars = hoursFrom(end - HOURS * HOUR_MS, counts);
  return html`
    <${Tile} title="Issued" href=${urlOf('/issuances')} figure=${live.data && countText(live.data.issued)} unit="in 24 hours">
      <${Missing} of=${live} />
      ${live.data && html`<${Bars} title="Issuances by hour, UTC" bars=${bars} ends=${['24 h ago', 'now']} />`}
    <//>
  `;
}

/** How many certificates that are valid now end in each of the next 24 hours: as many are renewed before. */
export function ExpiryChart(): VNode {
  const live = useLive<ExpiriesBody>(`/v1/reports/expiries?hours=${HOURS}`, REFRESH_SECONDS);
  const begin = nextHour(useNow()) - HOUR_MS;
  const counts = new Map(live.data?.hours.map(({ hour, ending }) => [Date.parse(hour), ending]));
  const ending = live.data?.hours.reduce((sum, { ending: one }) => sum + one, 0);
  return html`
    <${Tile} title="Expiries ahead" href=${urlOf('/issuances')} figure=${ending === undefined ? undefined : countText(ending)} unit="in 24 hours">
      <${Missing} of=${live} />
      ${
        live.data &&
        html`<${Bars} title="Expiries by hour, UTC" bars=${hoursFrom(begin, counts)} ends=${['now', 'in 24 h']} />
          ${live.data.later > 0 && html`<p class="quiet">and ${countText(live.data.later)} later</p>`}`
      }
    <//>
  `;
}

/** In the tile itself: one that fails leaves the others as they are. */
function Missing({ of: { error } }: { of: Live<unknown> }): VNode | null {
  return error === undefined
    ? null
    : html`<p role="status"><b>${explain(error).title}</b> ${explain(error).advice}</p>`;
}

function hoursFrom(begin: number, counts: ReadonlyMap<number, number>): Bar[] {
  return Array.from({ length: HOURS }, (_, index) => {
    const hour = begin + index * HOUR_MS;
    return { label: exactTime(new Date(hour).toISOString()).slice(0, 16), count: counts.get(hour) ?? 0 };
  });
}

function nextHour(now: number): number {
  return (Math.floor(now / HOUR_MS) + 1) * HOUR_MS;
}
