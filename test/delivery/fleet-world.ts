import { Fleet, type FleetLimits } from '../../src/delivery/fleet.ts';
import type { Holder, Holdings, X509Svid } from '../../src/delivery/holdings.ts';
import type { ConsumerRecord } from '../../src/delivery/member.ts';
import type { StreamObserver } from '../../src/delivery/observer.ts';
import type { HeldCertificate } from '../../src/delivery/slot.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';

export const HOUR_MS = 3_600_000;
export const START = Date.UTC(2026, 0, 1);
const INSTANCE = 'process:x';
const BUNDLE = {
  trustDomain: parseTrustDomain('td'),
  sequence: 1,
  x509Sequence: 1,
  x509Authorities: [],
  crls: [],
  jwtAuthorities: [],
};

/** One instance of a fleet, its agent's holdings, and a table in which it is stored. Each method is an event. */
export class FleetWorld {
  now = START;
  ended = false;
  /** Records written so far. */
  stored = 0;
  fleet: Fleet;
  readonly #limits: Partial<FleetLimits>;
  readonly #own = new Map<string, X509Svid>();
  readonly #streams = new Map<string, StreamObserver>();
  readonly #table = new Map<string, ConsumerRecord>();
  #unreported: (HeldCertificate & { instance: string })[] = [];
  #serials = 0;

  constructor(limits: Partial<FleetLimits> = {}) {
    this.#limits = limits;
    this.fleet = this.#start();
  }

  /** What is stored of the instance, once all that changed is. */
  record(): ConsumerRecord | undefined {
    this.store();
    return this.#table.get(INSTANCE);
  }

  store(): void {
    const changes = this.fleet.takeChanges(1000);
    this.stored += changes.records.length;
    for (const record of changes.records) this.#table.set(record.instance, structuredClone(record));
    for (const instance of changes.ended) this.#table.delete(instance);
    this.fleet.stored(changes);
    this.#unreported.length = 0;
  }

  open(stream: string, node = 'node'): this {
    const observer = this.fleet.connect(this.#holder(), true);
    observer.named({ id: node, cluster: '', userAgent: '' });
    this.#streams.set(stream, observer);
    return this;
  }

  issue(name: string, authority: string): this {
    const svid = this.#svid(name, authority);
    this.#own.set(name, svid);
    const { identity, serial, notAfter } = svid;
    this.#unreported.push({ instance: INSTANCE, identity, serial, authority, until: notAfter.getTime() });
    this.fleet.issued(svid, INSTANCE);
    return this;
  }

  withdraw(name: string): this {
    this.#own.delete(name);
    this.fleet.withdrew(INSTANCE);
    return this;
  }

  send(stream: string, name: string): this {
    const svid = this.#own.get(name);
    if (svid !== undefined) this.#streams.get(stream)?.sent(name, svid.serial, svid.notAfter);
    return this;
  }

  acknowledge(stream: string, name: string, version: string): this {
    this.#streams.get(stream)?.acknowledged(name, version);
    return this;
  }

  reject(stream: string, name: string, message: string): this {
    this.#streams.get(stream)?.rejected(name, this.versionOf(name), message);
    return this;
  }

  /** Issued, sent and acknowledged, on a stream that is opened if it isn't. */
  hold(stream: string, name: string, authority: string, node = 'node'): this {
    if (!this.#streams.has(stream)) this.open(stream, node);
    return this.issue(name, authority).send(stream, name).acknowledge(stream, name, this.versionOf(name));
  }

  sendBundle(stream: string, sequence: number): this {
    this.#streams.get(stream)?.sent('ROOTCA', `${sequence}-abc`, null);
    return this;
  }

  trust(stream: string, sequence: number, node = 'node'): this {
    if (!this.#streams.has(stream)) this.open(stream, node);
    return this.sendBundle(stream, sequence).acknowledge(stream, 'ROOTCA', `${sequence}-abc`);
  }

  /** It is looked whether what the stream acknowledged is in use. */
  look(stream: string, until: number | null): this {
    this.#streams.get(stream)?.observing(until);
    return this;
  }

  see(stream: string, sequence: number): this {
    this.#streams.get(stream)?.observed('ROOTCA', `${sequence}-abc`);
    return this;
  }

  /** Another trust domain's bundle is sent and acknowledged. */
  federate(stream: string, name: string, version: string): this {
    if (!this.#streams.has(stream)) this.open(stream);
    this.#streams.get(stream)?.sent(name, version, null);
    return this.acknowledge(stream, name, version);
  }

  drop(stream: string, name: string): this {
    this.#streams.get(stream)?.dropped(name);
    return this;
  }

  close(stream: string): this {
    this.#streams.get(stream)?.closed();
    this.#streams.delete(stream);
    return this;
  }

  fetch(name: string, authority: string): this {
    this.issue(name, authority);
    const call = this.fleet.connect(this.#holder(), false);
    call.sent(name, this.versionOf(name), new Date());
    call.closed();
    return this;
  }

  fetchBundle(sequence: number): this {
    const call = this.fleet.connect(this.#holder(), false);
    call.sent('ROOTCA', `${sequence}-abc`, null);
    call.closed();
    return this;
  }

  /** The process ends, and it is looked for. */
  end(): this {
    this.ended = true;
    this.fleet.tick();
    return this;
  }

  /** As a container can be, under its old ID. */
  startAgain(): this {
    this.ended = false;
    return this;
  }

  pass(milliseconds: number): this {
    this.store();
    this.now += milliseconds;
    for (const [name, { notAfter }] of this.#own) if (notAfter.getTime() <= this.now) this.#own.delete(name);
    this.fleet.tick();
    return this;
  }

  /** The agent ends when all that it knows is stored. */
  restart(): this {
    this.store();
    return this.crash();
  }

  /** The agent is killed, all streams with it, and started again: what is stored and what was issued is known. */
  crash(): this {
    this.#streams.clear();
    this.#own.clear();
    this.fleet = this.#start();
    const records = [...this.#table.values()].filter(({ gone }) => !gone);
    this.fleet.restore({ records, unreported: this.#unreported });
    return this;
  }

  versionOf(name: string): string {
    return this.#own.get(name)?.serial ?? '';
  }

  #start(): Fleet {
    return new Fleet({
      clock: () => this.now,
      heldBy: () => this.#own.values(),
      hasEnded: () => this.ended,
      onEnded: () => this.#own.clear(),
      limits: this.#limits,
    });
  }

  #holder(): Holder {
    const current = (): Holdings => ({
      svids: [...this.#own.values()],
      bundle: BUNDLE,
      federated: [],
      complete: true,
      problem: null,
    });
    return { instance: INSTANCE, current, subscribe: () => () => undefined };
  }

  #svid(name: string, authority: string): X509Svid {
    return {
      identity: parseSpiffeId(`spiffe://td/${name}`),
      serial: `5e${++this.#serials}`,
      chain: [],
      privateKey: new Uint8Array(),
      notBefore: new Date(this.now),
      notAfter: new Date(this.now + HOUR_MS),
      entryId: name,
      authority,
    };
  }
}
