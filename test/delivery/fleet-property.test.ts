import test from 'ava';
import fc from 'fast-check';
import { FleetWorld, HOUR_MS } from './fleet-world.ts';

const NAMES = ['a', 'b'] as const;
const PROXIES = ['p', 'q'] as const;

/** What one proxy has of one name: what it presents, and what is on its way to it. */
interface Use {
  presented: Version | null;
  /** In order. */
  sent: Version[];
  /** Taken, and not said yet. */
  taken: Version | null;
  readonly stream: string;
  readonly node: string;
  readonly name: string;
  open: boolean;
}

interface Version {
  readonly serial: string;
  readonly authority: string;
  readonly until: number;
}

interface UseEvent {
  readonly kind: 'open' | 'send' | 'take' | 'answer' | 'close' | 'drop';
  readonly use: number;
}

type Event =
  | { readonly kind: 'issue'; readonly name: string; readonly authority: string }
  | UseEvent
  | { readonly kind: 'store' }
  | { readonly kind: 'crash' }
  | { readonly kind: 'pass'; readonly minutes: number };

const use = fc.nat(PROXIES.length * NAMES.length - 1);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('issue' as const),
      name: fc.constantFrom(...NAMES),
      authority: fc.constantFrom('1', '2', '3'),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constantFrom('open', 'send', 'send', 'take', 'take', 'answer', 'answer', 'close', 'drop'),
      use,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('store' as const, 'crash' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), minutes: fc.integer({ min: 1, max: 40 }) }),
  },
);

test('whatever happens, what a proxy can present is counted: by its row, or as issued after the row', (t) => {
  fc.assert(
    fc.property(fc.array(event, { minLength: 10, maxLength: 80 }), (events) => {
      const model = new Model();
      for (const one of events) model.apply(one);
      model.check();
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

test('once every proxy is back and has acknowledged the newest, nothing else counts', (t) => {
  fc.assert(
    fc.property(fc.array(event, { minLength: 10, maxLength: 80 }), (events) => {
      const model = new Model();
      for (const one of events) model.apply(one);
      const counted = model.settle();
      if (counted.join() !== 'newest') throw new Error(`${counted} is counted`);
    }),
    { numRuns: 1_000 },
  );
  t.pass();
});

/** Two proxies of one instance, each with a stream for each name, of a kind that uses what it has until it has another. */
class Model {
  readonly world = new FleetWorld();
  readonly #uses: Use[] = PROXIES.flatMap((node) =>
    NAMES.map((name) => ({
      node,
      name,
      stream: `${node}${name}`,
      presented: null,
      sent: [],
      taken: null,
      open: false,
    })),
  );
  readonly #current = new Map<string, Version>();

  apply(event: Event): void {
    if ('use' in event) this.#use(event.kind, this.#uses[event.use] as Use);
    else if (event.kind === 'issue') this.#issue(event.name, event.authority);
    else if (event.kind === 'store') this.world.store();
    else if (event.kind === 'crash') this.#crash();
    else this.#pass(event.minutes * 60_000);
  }

  check(): void {
    this.world.store();
    const counted = this.world.record()?.authorities ?? [];
    const presented = this.#uses.flatMap(({ presented, sent }) => [
      ...(presented ? [presented] : []),
      ...sent,
    ]);
    for (const { authority, until } of presented)
      if (until > this.world.now && !counted.includes(authority))
        throw new Error(`${authority} may be presented, and only ${counted} is counted`);
  }

  /** Everybody comes back and takes the newest: two of each, as there are two proxies. Returns what is counted then. */
  settle(): readonly string[] {
    for (const one of this.#uses) if (!one.open) this.#use('open', one);
    for (const name of NAMES) this.#issue(name, 'newest');
    for (const one of this.#uses) {
      this.#use('send', one);
      while (one.sent.length > 0) this.#use('take', one);
      this.#use('answer', one);
    }
    return this.world.record()?.authorities ?? [];
  }

  #crash(): void {
    this.world.crash();
    this.#current.clear();
    for (const one of this.#uses) one.open = false;
  }

  #pass(milliseconds: number): void {
    this.world.pass(milliseconds);
    for (const [name, { until }] of this.#current) if (until <= this.world.now) this.#current.delete(name);
  }

  #issue(name: string, authority: string): void {
    this.world.issue(name, authority);
    this.#current.set(name, {
      serial: this.world.versionOf(name),
      authority,
      until: this.world.now + HOUR_MS,
    });
  }

  #use(kind: UseEvent['kind'], one: Use): void {
    const { stream, node } = one;
    if (kind === 'open') {
      if (one.open) return;
      // What was on its way to the old stream arrived or is lost: the proxy presents one of them.
      one.presented = one.sent.at(-1) ?? one.presented;
      one.sent = [];
      one.taken = null;
      one.open = true;
      this.world.open(stream, node);
    } else if (kind === 'take') {
      const next = one.sent.shift();
      if (next === undefined) return;
      one.presented = next;
      one.taken = next;
    } else if (one.open) this.#say(kind, one);
  }

  #say(kind: 'send' | 'answer' | 'close' | 'drop', one: Use): void {
    const { stream, name } = one;
    const current = this.#current.get(name);
    if (kind === 'send' && current !== undefined) {
      if (one.sent.at(-1) !== current && one.presented !== current) one.sent.push(current);
      this.world.send(stream, name);
      // Of two proxies that share a certificate, one that the last report did not know at all is not told apart.
      this.world.store();
    } else if (kind === 'answer') {
      const version = one.taken ?? (one.sent.length === 0 ? one.presented : null);
      one.taken = null;
      if (version !== null) this.world.acknowledge(stream, name, version.serial);
    } else if (kind === 'drop') this.world.drop(stream, name);
    else if (kind === 'close') {
      this.world.close(stream);
      one.open = false;
    }
  }
}
