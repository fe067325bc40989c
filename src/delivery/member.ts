import type { Consumer } from '../rotation/fleet.ts';
import type { X509Svid } from './holdings.ts';
import {
  acknowledged,
  emptySlot,
  type HeldBundle,
  type HeldCertificate,
  isIn,
  lastEnd,
  lastOfEachAuthority,
  observed,
  type Slot,
  sentBundle,
  sentCertificate,
  sequenceOf,
  unitedSlot,
} from './slot.ts';

/** What is kept of one instance: what rotation counts, and what an agent needs that takes it up again. */
export interface ConsumerRecord extends Omit<Consumer, 'node'> {
  /** Milliseconds since the epoch. */
  readonly keepUntil: number;
  readonly held: HeldRecord;
}

export interface HeldRecord {
  /** Of open streams; `answered` once anything was acknowledged. */
  readonly open: readonly { readonly slot: Slot; readonly answered: boolean }[];
  /** Of streams that had ended; `until` as in {@link Leftover}. */
  readonly left: readonly { readonly slot: Slot; readonly until: number }[];
  readonly lasting: readonly HeldCertificate[];
  /** What the agent held, and so may have sent since. */
  readonly own: readonly HeldCertificate[];
  readonly unconfirmed: (HeldBundle & { readonly until: number }) | null;
}

/** A slot whose stream ended or gave the name up: its proxy may still run and use what it has. */
interface Leftover {
  readonly slot: Slot;
  /** When it was left, on the member's own count of events. */
  readonly since: number;
  /** How long the proxy counts as a verifier: as long as its instance may present anything. */
  readonly until: number;
}

interface LiveSlot {
  slot: Slot;
  readonly begun: number;
  answered: boolean;
}

/** One open stream or call. */
export interface Stream {
  node: string;
  /** False where the protocol knows no acknowledgement. */
  readonly acknowledges: boolean;
  readonly slots: Map<string, LiveSlot>;
  /** Until when it is looked at most whether what it acknowledged is in use. */
  observesUntil: number | null;
}

const HOUR_MS = 3_600_000;
/** Without any certificate there is no other bound to what is kept. */
const WITHOUT_CERTIFICATE_MS = HOUR_MS;
/** Envoy tries to connect again every 30 s at least. */
const COME_BACK_MS = 35_000;
/** Streams that an instance left and did not come back for, told apart; a proxy has one for each of its secrets. */
const MAX_LEFTOVERS = 256;
const MAX_NAMES = 16;

/**
 * One instance of the fleet: its streams, and what its proxies may use.
 *
 * A proxy that loses its stream keeps what it has, and is given it up only for what it acknowledges on the stream
 * that takes the old one's place: one that it began later, for the same name, by the same name of its own. Each
 * such stream takes the place of one. What has no successor counts until it ends.
 */
export class Member {
  readonly instance: string;
  gone = false;
  /** As it was last stored; null for never. */
  stored: string | null = null;
  readonly #streams = new Set<Stream>();
  #leftovers: Leftover[] = [];
  /** Certificates of which nobody will say that they were replaced; one for each authority. */
  #lasting: HeldCertificate[] = [];
  /** The bundle that was last handed to somebody who cannot acknowledge. */
  #unconfirmed: (HeldBundle & { readonly until: number }) | null = null;
  /** The last end among all certificates ever issued to it. */
  #issuedUntil = 0;
  #problem: { readonly name: string; readonly text: string } | null = null;
  #events = 0;

  constructor(instance: string) {
    this.instance = instance;
  }

  /** As it was stored by an agent that has ended since: all of its streams with it. */
  static restore(record: ConsumerRecord, now: number): Member {
    const member = new Member(record.instance);
    const { open, left, lasting, own, unconfirmed } = record.held;
    member.#leftovers = left.map(({ slot, until }) => ({ slot, since: 0, until }));
    member.#lasting = [...lasting];
    member.#unconfirmed = unconfirmed;
    member.#issuedUntil = record.keepUntil;
    member.#problem = record.problem === null ? null : { name: '', text: record.problem };
    member.stored = '';
    const begun = ++member.#events;
    member.#leave(
      open.map((one) => ({ ...one, begun })),
      now,
      [],
    );
    for (const certificate of own) member.mayHold(certificate, now);
    return member;
  }

  /**
   * It was issued to the instance, and whether it was sent is not known: it may be what any stream of its identity
   * was sent last. Where there was none, a proxy that has it comes back for it; if none does, there is none.
   */
  mayHold(certificate: HeldCertificate, now: number): void {
    const { identity, until } = certificate;
    this.#issuedUntil = Math.max(this.#issuedUntil, until);
    let found = false;
    this.#leftovers = this.#leftovers.map((left) => {
      if (!left.slot.certificates.some((other) => other.identity === identity)) return left;
      found = true;
      return {
        ...left,
        slot: sentCertificate(left.slot, certificate, now),
        until: Math.max(left.until, until),
      };
    });
    if (found) return;
    const unproved = { ...certificate, until: Math.min(until, now + COME_BACK_MS) };
    const slot = sentCertificate(emptySlot(null, identity), unproved, now);
    this.#leftovers.push({ slot, since: 0, until: unproved.until });
  }

  get connected(): boolean {
    return this.#streams.size > 0;
  }

  issued({ notAfter }: X509Svid): void {
    this.#issuedUntil = Math.max(this.#issuedUntil, notAfter.getTime());
  }

  open(acknowledges: boolean): Stream {
    const stream: Stream = { node: '', acknowledges, slots: new Map(), observesUntil: null };
    this.#streams.add(stream);
    return stream;
  }

  sentCertificate(stream: Stream, name: string, svid: X509Svid, now: number): void {
    const certificate = certificateOf(svid);
    if (stream.acknowledges) {
      const live = this.#slotOf(stream, name);
      live.slot = sentCertificate(live.slot, certificate, now);
    } else this.#lasting = lastOfEachAuthority([...this.#lasting, certificate]);
  }

  sentBundle(stream: Stream, name: string, version: string, now: number, own: Iterable<X509Svid>): void {
    const sequence = sequenceOf(version);
    if (stream.acknowledges) {
      const live = this.#slotOf(stream, name);
      live.slot = sentBundle(live.slot, sequence, now);
    } else {
      const until = this.#presentsUntil(now, own);
      this.#unconfirmed = { sent: sequence, sentAt: now, acknowledged: null, observed: null, until };
    }
  }

  acknowledged(stream: Stream, name: string, version: string): void {
    const live = stream.slots.get(name);
    if (live === undefined || !isIn(live.slot, version)) return;
    live.slot = acknowledged(live.slot, version);
    if (this.#problem?.name === name || this.#problem?.name === '') this.#problem = null;
    if (!live.answered) this.#succeed(live);
    live.answered = true;
  }

  observed(stream: Stream, name: string, version: string): void {
    const live = stream.slots.get(name);
    if (live !== undefined) live.slot = observed(live.slot, version);
  }

  rejected(name: string, message: string): void {
    this.#problem = { name, text: message };
  }

  /** The stream asks for the name no more. */
  dropped(stream: Stream, name: string, now: number, own: Iterable<X509Svid>): void {
    const live = stream.slots.get(name);
    if (live === undefined) return;
    stream.slots.delete(name);
    this.#leave([live], now, own);
  }

  close(stream: Stream, now: number, own: Iterable<X509Svid>): void {
    this.#streams.delete(stream);
    this.#leave([...stream.slots.values()], now, own);
  }

  /** What is to be stored of it; null when there is nothing to remember. `own` is what the agent holds for it. */
  record(now: number, own: Iterable<X509Svid>): ConsumerRecord | null {
    const keepUntil = this.#keepUntil(now);
    if (keepUntil <= now) return null;
    if (this.gone) return { ...this.#nothing(), gone: true, keepUntil };
    this.#forget(now);
    const slots = [...this.#slots()];
    const certificates = valid(this.#certificates(own), now);
    const { bundles, confirmed } = this.#bundles(slots);
    return {
      ...this.#nothing(),
      keepUntil,
      names: [...new Set(slots.flatMap(({ node }) => node || []))].slice(0, MAX_NAMES),
      identities: [...new Set(certificates.map(({ identity }) => identity))].sort(),
      streams: this.#streams.size,
      acknowledges: confirmed,
      bundleSent: least(bundles.map(({ sent }) => sent)),
      bundleSentAt: greatest(bundles.map(({ sentAt }) => sentAt)),
      bundleAcknowledged: confirmed ? leastOfAll(bundles.map(({ acknowledged }) => acknowledged)) : null,
      bundleObserved: confirmed ? leastOfAll(bundles.map(({ observed }) => observed)) : null,
      observesUntil: greatest([...this.#streams].flatMap(({ observesUntil }) => observesUntil ?? [])),
      authorities: [...new Set(certificates.map(({ authority }) => authority))].sort(),
      holdsUntil: greatest([...certificates, ...this.#verifiers()].map(({ until }) => until)),
      problem: this.#problem?.text ?? null,
      held: this.#held(own),
    };
  }

  /** When time alone changes its record next. */
  changesAt(record: ConsumerRecord, now: number, own: Iterable<X509Svid>): number {
    const ends = [...this.#certificates(own), ...this.#verifiers()].map(({ until }) => until);
    const renewal = this.#streams.size > 0 ? record.keepUntil - HOUR_MS / 4 : record.keepUntil;
    return Math.min(...[...ends, renewal, record.keepUntil].filter((at) => at > now));
  }

  #slotOf(stream: Stream, name: string): LiveSlot {
    let live = stream.slots.get(name);
    if (live === undefined) {
      live = { slot: emptySlot(stream.node, name), begun: ++this.#events, answered: false };
      stream.slots.set(name, live);
    }
    return live;
  }

  /** It takes the place of the one that was left first, and of what nobody knows to have been sent. */
  #succeed(live: LiveSlot): void {
    this.#takePlace(live);
    const identities = new Set(live.slot.certificates.map(({ identity }) => identity));
    this.#leftovers = this.#leftovers.filter(({ slot }) => slot.node !== null || !identities.has(slot.name));
  }

  #takePlace({ slot: { node, name }, begun }: LiveSlot): Leftover | undefined {
    const index = this.#leftovers.findIndex(
      ({ slot, since }) => slot.node === node && slot.name === name && since < begun,
    );
    return index < 0 ? undefined : this.#leftovers.splice(index, 1)[0];
  }

  #leave(left: readonly LiveSlot[], now: number, own: Iterable<X509Svid>): void {
    const until = this.#presentsUntil(now, own, left);
    const since = ++this.#events;
    for (const live of left) {
      // It never came to take the place of the one before: what that had may be in use as well.
      const before = live.answered ? undefined : this.#takePlace(live);
      const slot = before === undefined ? live.slot : unitedSlot(before.slot, live.slot);
      this.#leftovers.push({ slot, since, until });
    }
    while (this.#leftovers.length > MAX_LEFTOVERS) this.#merge(this.#leftovers.splice(0, 2));
  }

  /** More than are told apart: they have no successor, and count together until they end. */
  #merge(two: readonly Leftover[]): void {
    const united = two.reduce((slot, one) => unitedSlot(slot, one.slot), emptySlot('', ''));
    const slot = { ...united, certificates: lastOfEachAuthority(united.certificates) };
    this.#leftovers.unshift({ slot, since: 0, until: greatest(two.map(({ until }) => until)) ?? 0 });
  }

  #forget(now: number): void {
    this.#leftovers = this.#leftovers.filter(
      ({ slot, until }) => (slot.bundle !== null && until > now) || valid(slot.certificates, now).length > 0,
    );
    this.#lasting = valid(this.#lasting, now);
    const silent = [...this.#streams].some(({ acknowledges }) => !acknowledges);
    if (this.#unconfirmed !== null && this.#unconfirmed.until <= now && !silent) this.#unconfirmed = null;
  }

  #presentsUntil(now: number, own: Iterable<X509Svid>, left: readonly LiveSlot[] = []): number {
    const certificates = [...this.#certificates(own), ...left.flatMap(({ slot }) => slot.certificates)];
    return lastEnd(valid(certificates, now)) ?? now + WITHOUT_CERTIFICATE_MS;
  }

  *#slots(): Iterable<Slot> {
    for (const stream of this.#streams) for (const { slot } of stream.slots.values()) yield slot;
    for (const { slot } of this.#leftovers) yield slot;
  }

  /** All that may be presented, and what the agent may yet hand out. */
  *#certificates(own: Iterable<X509Svid>): Iterable<HeldCertificate> {
    for (const slot of this.#slots()) yield* slot.certificates;
    yield* this.#lasting;
    for (const svid of own) yield certificateOf(svid);
  }

  /** Where its verifiers stand. Whoever can acknowledge speaks for those who can't. */
  #bundles(slots: readonly Slot[]): { bundles: readonly HeldBundle[]; confirmed: boolean } {
    const bundles = slots.flatMap(({ bundle }) => bundle ?? []);
    if (bundles.length > 0 || this.#unconfirmed === null) return { bundles, confirmed: true };
    return { bundles: [this.#unconfirmed], confirmed: false };
  }

  /** How long those that are away count for the bundle that they have. */
  #verifiers(): { readonly until: number }[] {
    const left = this.#leftovers.filter(({ slot }) => slot.bundle !== null);
    return this.#unconfirmed === null ? left : [...left, this.#unconfirmed];
  }

  #keepUntil(now: number): number {
    if (this.gone) return this.#issuedUntil;
    const needed = greatest(this.#verifiers().map(({ until }) => until)) ?? 0;
    const last = Math.max(this.#issuedUntil, needed);
    if (!this.connected || last > now + HOUR_MS / 4) return last;
    // In whole half hours, so that a record doesn't change each time that it is made.
    return (Math.ceil(now / (HOUR_MS / 2)) + 1) * (HOUR_MS / 2);
  }

  #held(own: Iterable<X509Svid>): HeldRecord {
    const open = [...this.#streams].flatMap(({ slots }) => [...slots.values()]);
    return {
      open: open.map(({ slot, answered }) => ({ slot, answered })),
      left: this.#leftovers.map(({ slot, until }) => ({ slot, until })),
      lasting: this.#lasting,
      own: [...own].map(certificateOf),
      unconfirmed: this.#unconfirmed,
    };
  }

  #nothing(): ConsumerRecord {
    return {
      instance: this.instance,
      names: [],
      identities: [],
      streams: 0,
      gone: false,
      acknowledges: true,
      bundleSent: null,
      bundleSentAt: null,
      bundleAcknowledged: null,
      bundleObserved: null,
      observesUntil: null,
      authorities: [],
      holdsUntil: null,
      problem: null,
      keepUntil: 0,
      held: { open: [], left: [], lasting: [], own: [], unconfirmed: null },
    };
  }
}

function certificateOf({ identity, serial, authority, notAfter }: X509Svid): HeldCertificate {
  return { identity, serial, authority, until: notAfter.getTime() };
}

function valid(certificates: Iterable<HeldCertificate>, now: number): HeldCertificate[] {
  return [...certificates].filter(({ until }) => until > now);
}

/** The least; null where one of them is unknown. What older versions stored knows nothing of some. */
function leastOfAll(numbers: readonly (number | null | undefined)[]): number | null {
  const known = numbers.flatMap((number) => number ?? []);
  return known.length < numbers.length ? null : least(known);
}

function least(numbers: readonly number[]): number | null {
  return numbers.length === 0 ? null : Math.min(...numbers);
}

function greatest(numbers: readonly number[]): number | null {
  return numbers.length === 0 ? null : Math.max(...numbers);
}
