import type { VNode } from 'preact';
import type { AuthorityBody } from '../../../src/api/authorities.ts';
import type { FleetBody } from '../../../src/api/fleet.ts';
import type { LogBody } from '../../../src/api/log.ts';
import type { RotationBody } from '../../../src/api/rotations.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { countText } from '../parts/bars.ts';
import { Facts } from '../parts/facts.ts';
import { Notice, Trouble } from '../parts/notice.ts';
import { Tile } from '../parts/tile.ts';
import { Time, useNow } from '../parts/time.ts';
import { type Live, useLive } from '../rest/live.ts';
import { alarmsOf } from './alarms.ts';
import { ExpiryChart, IssuanceChart } from './overview-charts.ts';

interface Items<T> {
  readonly items: readonly T[];
}

/** How things stand, at a glance: first what is wrong, then what is. */
export function OverviewPage(): VNode {
  const log = useLive<LogBody>('/v1/log', 5);
  const fleet = useLive<FleetBody>('/v1/fleet', 10);
  const rotations = useLive<Items<RotationBody>>('/v1/rotations', 10);
  const authorities = useLive<Items<AuthorityBody>>('/v1/authorities', 30);
  const lives: readonly Live<unknown>[] = [log, fleet, rotations, authorities];
  const failed = lives.find(({ error }) => error !== undefined);
  return html`
    <h1 tabindex="-1">Overview</h1>
    ${failed && html`<${Trouble} of=${failed} />`}
    <${Alarms} log=${log.data} fleet=${fleet.data} rotations=${rotations.data?.items ?? []}
      authorities=${authorities.data?.items ?? []} isKnown=${lives.every(({ data }) => data !== undefined)} />
    <div class="tiles">
      <${IssuanceChart} /><${ExpiryChart} />
      <${FleetTile} fleet=${fleet.data} />
      <${AuthorityTile} rotations=${rotations.data?.items} authorities=${authorities.data?.items} />
      <${LogTile} log=${log.data} />
    </div>
  `;
}

type AlarmsProps = Parameters<typeof alarmsOf>[0] & { readonly isKnown: boolean };

function Alarms({ isKnown, ...situation }: AlarmsProps): VNode {
  const alarms = alarmsOf(situation, useNow());
  if (!isKnown && alarms.length === 0)
    return html`<${Notice} kind="plain" title="Asking how things stand…" />`;
  if (alarms.length === 0)
    return html`<${Notice} kind="good" title="All is in order.">No alarm of the log, its witnesses, the authorities or the fleet.<//>`;
  return html`${alarms.map(({ kind, title, advice }) => html`<${Notice} key=${title} kind=${kind} title=${title}>${advice}<//>`)}`;
}

function FleetTile({ fleet }: { fleet: FleetBody | undefined }): VNode {
  return html`
    <${Tile} title="Fleet" href=${urlOf('/fleet')} figure=${fleet && countText(fleet.connected)} unit="proxies connected">
      ${
        fleet &&
        html`<${Facts} of=${[
          [
            'Behind',
            fleet.behind === 0 ? 'none' : html`<span class="badge warn">${countText(fleet.behind)}</span>`,
          ],
          [
            'Refusing',
            fleet.refusing === 0 ? 'none' : html`<span class="badge bad">${countText(fleet.refusing)}</span>`,
          ],
          ['Away', countText(fleet.away)],
          ['Latest bundle', `no. ${fleet.bundle_sequence}`],
        ]} />`
      }
    <//>
  `;
}

interface AuthorityTileProps {
  readonly rotations: readonly RotationBody[] | undefined;
  readonly authorities: readonly AuthorityBody[] | undefined;
}

function AuthorityTile({ rotations, authorities }: AuthorityTileProps): VNode {
  const active = authorities?.filter(({ state }) => state === 'active') ?? [];
  const under = rotations?.map(({ kind, phase, acknowledged, consumers }): [string, VNode] => [
    `Rotation of the ${kind}`,
    html`<span class="badge warn">${phase}</span> ${acknowledged} of ${consumers} acknowledged`,
  ]);
  return html`
    <${Tile} title="Authorities" href=${urlOf('/authorities')} figure=${rotations && (rotations.length === 0 ? 'steady' : `${rotations.length} rotating`)} unit="">
      <${Facts} of=${[
        ...(under ?? []),
        ...active.map(({ kind, id, not_after }) => [
          kind === 'root' ? 'Root' : 'Issuing CA',
          html`${id}, ends <${Time} at=${not_after} />`,
        ]),
      ]} />
    <//>
  `;
}

function LogTile({ log }: { log: LogBody | undefined }): VNode {
  return html`
    <${Tile} title="Log" figure=${log && countText(log.size)} unit="entries">
      ${
        log &&
        html`<${Facts} of=${[
          [
            'Waiting',
            log.waiting_since === null ? 'nothing' : html`since <${Time} at=${log.waiting_since} />`,
          ],
          [
            'Published',
            log.published_size === log.size ? 'all of it' : `${countText(log.published_size)} entries`,
          ],
          ['Origin', log.origin],
          ...(log.witnesses.length === 0
            ? [['Witnesses', 'none']]
            : log.witnesses.map((one) => [one.id, html`<${Witness} of=${one} />`])),
        ]} />`
      }
    <//>
  `;
}

function Witness({ of: { cosigned_at, problem } }: { of: LogBody['witnesses'][number] }): VNode {
  const state =
    problem === null
      ? html`<span class="badge good">cosigns</span>`
      : html`<span class="badge bad">${problem.code}</span>`;
  return html`${state} ${cosigned_at === null ? 'never yet' : html`<${Time} at=${cosigned_at} />`}`;
}
