import type { Sinks } from '../../src/api/sinks.ts';
import { CarnetError } from '../../src/errors.ts';
import type { SinkState } from '../../src/forward/store.ts';

/** Sinks in memory, of a log of ten entries. */
export class MemorySinks implements Sinks {
  readonly sinks: SinkState[] = [];

  async list(): Promise<SinkState[]> {
    return this.sinks;
  }

  async move(name: string, position: number): Promise<SinkState> {
    const at = this.sinks.findIndex((sink) => sink.name === name);
    const sink = this.sinks[at];
    if (sink === undefined) throw new CarnetError('not_found', `there is no sink ${name}`);
    const moved = { ...sink, position, lagEntries: 10 - position };
    this.sinks[at] = moved;
    return moved;
  }
}

export function sinkState(fields: Partial<SinkState> = {}): SinkState {
  return {
    name: 'webhook',
    target: 'https://siem.example',
    position: 7,
    lagEntries: 3,
    lagSeconds: 1.5,
    acknowledgedAt: new Date(1_772_323_200_000),
    failures: 0,
    failingSince: null,
    problem: null,
    ...fields,
  };
}
