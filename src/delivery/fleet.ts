import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { Agenda } from './agenda.ts';
import type { Holder, X509Svid } from './holdings.ts';
import { type ConsumerRecord, Member, type Stream } from './member.ts';
import type { StreamObserver } from './observer.ts';
import { type HeldCertificate, isOwnBundle } from './slot.ts';

/** What the fleet needs of its surroundings. */
export interface FleetOptions {
  readonly clock: Clock;
  /** What the agent holds for an instance, and so may hand out at any moment. */
  readonly heldBy: (instance: string) => Iterable<X509Svid>;
  /** Whether the instance is known to run no more; false where that cannot be told. */
  readonly hasEnded: (instance: string) => boolean;
  /** What is held for it must not be handed out, should it be started again: nobody waits for it any more. */
  readonly onEnded?: (instance: string) => void;
  readonly limits?: Partial<FleetLimits>;
}

export interface FleetLimits {
  /** Instances connected, or of which certificates may be in use: to forget one of these would be to miscount. */
  readonly members: number;
  /** Instances without a stream that are looked after in one `tick()`. */
  readonly looks: number;
}

const DEFAULT_LIMITS: FleetLimits = { members: 50_000, looks: 100 };

/** What an earlier agent left. */
export interface FleetRemains {
  /** Of instances that are not gone. */
  readonly records: readonly ConsumerRecord[];
  /** Issued after its instance's record was stored for the last time. */
  readonly unreported: readonly (HeldCertificate & { readonly instance: string })[];
}

/** What is to be stored, and what is to be removed. */
export interface FleetChanges {
  readonly records: readonly ConsumerRecord[];
  /** Instances of which nothing needs to be remembered. */
  readonly ended: readonly string[];
}

/**
 * What each instance of this node may use now: the bundle that it verifies by, and the authorities of what it may
 * present. Counted from what streams were sent and said to it; what cannot be known counts until it ends, so it
 * is never less than what is in use.
 *
 * Everything costs by what changed, not by how many there are.
 */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #limits: FleetLimits;
  readonly #members = new Map<string, Member>();
  readonly #changed = new Set<string>();
  readonly #agenda = new Agenda();
  /** Without a stream, and perhaps ended; in turn. */
  readonly #absent = new Set<string>();
  #onChange: () => void = () => undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
  }

  /** Calls `listener`, which must only take note, whenever {@link takeChanges} may have something to give. */
  listen(listener: () => void): void {
    this.#onChange = listener;
  }

  /** Takes up what an earlier agent left: instances that are away, or gone. Before anything else. */
  restore({ records, unreported }: FleetRemains): void {
    const now = this.#options.clock();
    for (const record of records) {
      this.#members.set(record.instance, Member.restore(record, now));
      this.#absent.add(record.instance);
    }
    for (const { instance, ...certificate } of unreported) this.#memberOf(instance).mayHold(certificate, now);
    for (const instance of this.#members.keys()) {
      this.#look(instance);
      this.#change(instance);
    }
  }

  /** To be asked before anything is held for an instance. Throws `overloaded` for one more than the limit. */
  admit(instance: string): void {
    if (this.#members.size >= this.#limits.members && !this.#members.has(instance))
      throw new CarnetError(
        'overloaded',
        `${this.#members.size} instances are or were served by this agent, and may still use their certificates`,
      );
  }

  /** Counts a stream from now until the observer's `closed()`; what is sent must be what `holder` holds then. */
  connect(holder: Holder, acknowledges: boolean): StreamObserver {
    const { instance } = holder;
    const member = this.#memberOf(instance);
    const stream = member.open(acknowledges);
    this.#absent.delete(instance);
    this.#change(instance);
    return this.#observer(member, stream, holder);
  }

  /** A certificate was made: until it is replaced by the next the agent may hand it out. */
  issued(svid: X509Svid, instance: string): void {
    (this.#members.get(instance) ?? this.#memberOf(instance)).issued(svid);
    this.#change(instance);
  }

  /** The agent has given up something that it held for the instance. */
  withdrew(instance: string): void {
    if (this.#members.has(instance)) this.#change(instance);
  }

  /** Notices what ends by itself: certificates, and instances that are away. */
  tick(): void {
    for (const instance of this.#agenda.take(this.#options.clock())) this.#change(instance);
    for (const instance of first(this.#absent, this.#limits.looks)) {
      this.#absent.delete(instance);
      this.#absent.add(instance);
      this.#look(instance);
    }
  }

  /** What changed since it was last asked for, of at most so many instances. Each goes back by one of the next two. */
  takeChanges(limit: number): FleetChanges {
    const now = this.#options.clock();
    const records: ConsumerRecord[] = [];
    const ended: string[] = [];
    for (const instance of first(this.#changed, limit)) {
      this.#changed.delete(instance);
      const member = this.#members.get(instance);
      if (member === undefined) continue;
      const own = [...this.#options.heldBy(instance)];
      const record = member.record(now, own);
      if (record === null) {
        if (member.stored === null) this.#forget(member);
        else ended.push(instance);
        continue;
      }
      this.#agenda.set(instance, member.changesAt(record, now, own));
      if (JSON.stringify(record) !== member.stored) records.push(record);
    }
    return { records, ended };
  }

  /** These changes are stored. */
  stored({ records, ended }: FleetChanges): void {
    for (const record of records) {
      const member = this.#members.get(record.instance);
      if (member === undefined) continue;
      member.stored = JSON.stringify(record);
      if (record.gone && !this.#changed.has(record.instance)) this.#forget(member);
    }
    for (const instance of ended) {
      const member = this.#members.get(instance);
      if (member === undefined) continue;
      member.stored = null;
      if (!this.#changed.has(instance)) this.#forget(member);
    }
  }

  /** These changes may or may not be stored: they are taken again, as they will be then. */
  notStored({ records, ended }: FleetChanges): void {
    for (const instance of [...records.map((record) => record.instance), ...ended]) {
      const member = this.#members.get(instance);
      if (member !== undefined) member.stored = '';
      this.#change(instance);
    }
  }

  get hasChanges(): boolean {
    return this.#changed.size > 0;
  }

  get size(): number {
    return this.#members.size;
  }

  #observer(member: Member, stream: Stream, holder: Holder): StreamObserver {
    const { clock, heldBy } = this.#options;
    const { instance } = member;
    const own = (): Iterable<X509Svid> => heldBy(instance);
    return {
      named: ({ id }) => {
        stream.node = id;
      },
      kept: () => undefined,
      sent: (name, version, expiresAt) => {
        const svid = holder.current().svids.find(({ serial }) => serial === version);
        if (svid !== undefined) member.sentCertificate(stream, name, svid, clock());
        else if (expiresAt === null && isOwnBundle(version))
          member.sentBundle(stream, name, version, clock(), own());
        this.#change(instance);
      },
      acknowledged: (name, version) => {
        member.acknowledged(stream, name, version);
        this.#change(instance);
      },
      observing: (until) => {
        stream.observesUntil = until;
        this.#change(instance);
      },
      observed: (name, version) => {
        member.observed(stream, name, version);
        this.#change(instance);
      },
      rejected: (name, _version, message) => {
        member.rejected(name, message);
        this.#change(instance);
      },
      waiting: () => undefined,
      dropped: (name) => {
        member.dropped(stream, name, clock(), own());
        this.#change(instance);
      },
      closed: () => {
        member.close(stream, clock(), own());
        if (!member.connected) {
          this.#absent.add(instance);
          this.#look(instance);
        }
        this.#change(instance);
      },
    };
  }

  #memberOf(instance: string): Member {
    const found = this.#members.get(instance);
    if (found !== undefined && !found.gone) return found;
    const member = new Member(instance);
    if (found !== undefined) member.stored = '';
    this.#members.set(instance, member);
    this.#absent.add(instance);
    return member;
  }

  #look(instance: string): void {
    const member = this.#members.get(instance);
    if (member === undefined || member.gone || !this.#options.hasEnded(instance)) return;
    member.gone = true;
    this.#absent.delete(instance);
    this.#options.onEnded?.(instance);
    this.#change(instance);
  }

  #forget({ instance }: Member): void {
    this.#members.delete(instance);
    this.#absent.delete(instance);
    this.#changed.delete(instance);
    this.#agenda.set(instance, null);
  }

  #change(instance: string): void {
    this.#changed.add(instance);
    this.#onChange();
  }
}

/** The first `count`, in a list of its own: the set may change while it is gone through. */
function first(set: ReadonlySet<string>, count: number): string[] {
  const found: string[] = [];
  for (const one of set) {
    if (found.length === count) break;
    found.push(one);
  }
  return found;
}
