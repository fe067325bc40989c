import fc from 'fast-check';
import type { World } from './world.ts';

/** Something that happens to a proxy, its server, or the wire between them. */
export type Step =
  | { readonly kind: 'issue'; readonly name: string; readonly version: string }
  | { readonly kind: 'withdraw'; readonly name: string }
  | { readonly kind: 'complete'; readonly value: boolean }
  | { readonly kind: 'want'; readonly names: readonly string[] }
  /** The next message in flight arrives; requests and responses each keep their order. */
  | { readonly kind: 'request-arrives' | 'response-arrives' }
  /** The transport has taken the last response. */
  | { readonly kind: 'taken' }
  /** The stream breaks, with all that was in flight, and the proxy opens another. */
  | { readonly kind: 'reconnect' };

/** One proxy and its server, as a test drives them. */
export interface Pair {
  readonly world: World;
  want(names: readonly string[]): void;
  /** False when nothing is in flight in this direction. */
  requestArrives(): boolean;
  responseArrives(): boolean;
  taken(): boolean;
  changed(): void;
  reconnect(): void;
}

const name = fc.constantFrom('default', 'ROOTCA', 'spiffe://td/a', 'spiffe://td/b');
/** Few versions, so that some come back; one in four is bad. */
const version = fc.constantFrom('v1', 'v2', 'v3', 'bad');

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('issue' as const), name, version }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('withdraw' as const), name }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('complete' as const), value: fc.boolean() }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('want' as const),
        names: fc.subarray(['default', 'ROOTCA', 'spiffe://td/a', 'spiffe://td/b']),
      }),
    },
    { weight: 6, arbitrary: fc.constant({ kind: 'request-arrives' as const }) },
    { weight: 6, arbitrary: fc.constant({ kind: 'response-arrives' as const }) },
    { weight: 4, arbitrary: fc.constant({ kind: 'taken' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'reconnect' as const }) },
  ),
  { maxLength: 60, size: 'max' },
);

export function isBad(version: string): boolean {
  return version === 'bad';
}

export function run(pair: Pair, taken: readonly Step[]): void {
  for (const step of taken) apply(pair, step);
}

/** Lets everything in flight arrive. Returns the number of messages that it took; throws past a bound. */
export function quiesce(pair: Pair): number {
  for (let messages = 0; messages < 200; messages++)
    if (!pair.taken() && !pair.requestArrives() && !pair.responseArrives()) return messages;
  throw new Error('the proxy and the server do not come to rest');
}

function apply(pair: Pair, step: Step): void {
  switch (step.kind) {
    case 'issue':
      pair.world.versions.set(step.name, step.version);
      pair.changed();
      break;
    case 'withdraw':
      pair.world.versions.delete(step.name);
      pair.changed();
      break;
    case 'complete':
      pair.world.complete = step.value;
      pair.changed();
      break;
    case 'want':
      pair.want(step.names);
      break;
    case 'request-arrives':
      pair.requestArrives();
      break;
    case 'response-arrives':
      pair.responseArrives();
      break;
    case 'taken':
      pair.taken();
      break;
    case 'reconnect':
      pair.reconnect();
  }
}
