import type { Clock } from '../../clock.ts';
import type { KeptSvid } from '../../delivery/certificate.ts';
import { certificateKey } from '../../delivery/instance.ts';
import type { Grant } from '../../policy/entry.ts';
import type { InstanceSvid } from './cached-state.ts';

/** The leaves of the agent before this one, until their instances come back for them or they end. */
export class KeptSvids {
  readonly #clock: Clock;
  readonly #svids = new Map<string, InstanceSvid>();

  constructor(svids: readonly InstanceSvid[], clock: Clock) {
    this.#clock = clock;
    for (const kept of svids) this.#svids.set(keyOf(kept.instance, grantOf(kept)), kept);
  }

  /** The leaf of an instance for a grant; it is given once. Undefined where there is none that is valid. */
  take(instance: string, grant: Grant): KeptSvid | undefined {
    const key = keyOf(instance, grant);
    const kept = this.#svids.get(key);
    this.#svids.delete(key);
    return kept !== undefined && this.#isValid(kept) ? kept : undefined;
  }

  /** The instance has ended. */
  forget(instance: string): void {
    for (const [key, kept] of this.#svids) if (kept.instance === instance) this.#svids.delete(key);
  }

  /** Those that nobody came back for yet. */
  waiting(): InstanceSvid[] {
    return [...this.#svids.values()].filter((kept) => this.#isValid(kept));
  }

  #isValid({ svid }: InstanceSvid): boolean {
    return svid.notAfter.getTime() > this.#clock();
  }
}

type Granted = Pick<Grant, 'entryId' | 'spiffeId'>;

function grantOf({ svid }: InstanceSvid): Granted {
  return { entryId: svid.entryId, spiffeId: svid.identity };
}

function keyOf(instance: string, granted: Granted): string {
  return `${instance}\n${certificateKey(granted)}`;
}
