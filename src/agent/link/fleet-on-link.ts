import { fitRecord } from '../../delivery/fit-record.ts';
import type { FleetChanges, FleetRemains } from '../../delivery/fleet.ts';
import type { FleetStore } from '../../delivery/fleet-report.ts';
import type { ConsumerRecord } from '../../delivery/member.ts';
import { isRetryable } from '../../errors.ts';
import type { InstanceSvid } from '../cache/cached-state.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import type { AgentLink } from './agent-link.ts';

/** Half of a message: what stands around the records has room. */
const MAX_PART_BYTES = LINK_LIMITS.upBytes / 2;

/** What a cache kept, for a start with the servers away. */
export interface KeptFleet {
  readonly fleet: readonly ConsumerRecord[];
  readonly svids: readonly InstanceSvid[];
}

/** Where the fleet's records go: to the servers. */
export class FleetOnLink implements FleetStore {
  readonly #link: Pick<AgentLink, 'loadFleet' | 'reportFleet'>;
  readonly #socket: string;
  readonly #kept: KeptFleet | null;
  /** As they are now, stored or not: by instance. */
  readonly #records = new Map<string, ConsumerRecord>();

  constructor(link: Pick<AgentLink, 'loadFleet' | 'reportFleet'>, socket: string, kept: KeptFleet | null) {
    this.#link = link;
    this.#socket = socket;
    this.#kept = kept;
  }

  /** The servers' word; with them away the cache's. */
  async load(): Promise<FleetRemains> {
    const remains = await this.#load();
    for (const record of remains.records) this.#records.set(record.instance, record);
    return remains;
  }

  async write(changes: FleetChanges): Promise<void> {
    for (const record of changes.records) this.#records.set(record.instance, record);
    for (const instance of changes.ended) this.#records.delete(instance);
    for (const part of partsOf(changes)) await this.#link.reportFleet(this.#socket, JSON.stringify(part));
  }

  /** For the cache. */
  records(): ConsumerRecord[] {
    return [...this.#records.values()].filter(({ gone }) => !gone);
  }

  async #load(): Promise<FleetRemains> {
    try {
      return JSON.parse(await this.#link.loadFleet(this.#socket)) as FleetRemains;
    } catch (error) {
      if (this.#kept === null || !isRetryable(error)) throw error;
      return remainsOf(this.#kept);
    }
  }
}

/** Each within what a server takes in one message: it stands for itself, so one that is stored twice does no harm. */
function* partsOf({ records, ended }: FleetChanges): Iterable<FleetChanges> {
  let part: ConsumerRecord[] = [];
  let bytes = 0;
  for (const record of records.map(fitRecord)) {
    const more = Buffer.byteLength(JSON.stringify(record));
    if (part.length > 0 && bytes + more > MAX_PART_BYTES) {
      yield { records: part, ended: [] };
      [part, bytes] = [[], 0];
    }
    part.push(record);
    bytes += more;
  }
  yield { records: part, ended };
}

function remainsOf({ fleet, svids }: KeptFleet): FleetRemains {
  const reported = new Set(fleet.flatMap(({ held }) => held.own.map(({ serial }) => serial)));
  const unreported = svids
    .filter(({ svid }) => !reported.has(svid.serial))
    .map(({ instance, svid }) => ({
      instance,
      identity: svid.identity,
      serial: svid.serial,
      authority: svid.authority,
      until: svid.notAfter.getTime(),
    }));
  return { records: fleet, unreported };
}
