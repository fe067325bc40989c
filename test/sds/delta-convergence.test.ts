import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import {
  type DeltaEvent,
  type DeltaResponse,
  INITIAL_DELTA,
  reduceDelta,
} from '../../src/sds/delta-reducer.ts';
import type { Report } from '../../src/sds/subscription.ts';
import { isBad, type Pair, quiesce, run, steps } from './steps.ts';
import { World } from './world.ts';

type Request = DeltaEvent & { kind: 'request' };

test('delta: after any events a proxy comes to hold the latest of all it asks for', (t) => {
  fc.assert(
    fc.property(steps, (taken) => {
      const pair = new DeltaPair();
      run(pair, taken);
      quiesce(pair);
      for (const name of pair.names) {
        const version = pair.world.get(name)?.version;
        if (version === undefined) {
          if (pair.world.complete && !pair.crossed.has(name))
            assert.equal(pair.held.get(name), undefined, `${name} was not removed`);
        } else if (!isBad(version)) {
          assert.equal(pair.held.get(name), version, `${name} is not the latest`);
          assert.equal(pair.acknowledged.get(name), version, `${name} is not known to be acknowledged`);
        } else assert(!isBad(pair.held.get(name) ?? ''));
      }
    }),
    { numRuns: 5000, seed: 5 },
  );
  t.pass();
});

/**
 * A proxy that does what Envoy's DeltaSubscriptionState does, the wire, and the reducer, whose every step is
 * held to the protocol's rules.
 */
class DeltaPair implements Pair {
  readonly world = new World();
  // The proxy: what it wants and holds.
  names = new Set<string>();
  readonly held = new Map<string, string>();
  // The wire.
  #requests: Request[] = [];
  #responses: DeltaResponse[] = [];
  #untaken = false;
  // The server, and what it must have been told and have done on this stream.
  state = INITIAL_DELTA;
  #asked = new Set<string>();
  #known = new Map<string, string>();
  #nonces = new Map<string, DeltaResponse>();
  /**
   * Names left and wanted again, and not sent since: a response from before may reach the proxy after, and the
   * server cannot know whether the proxy takes it.
   */
  readonly crossed = new Set<string>();
  readonly acknowledged = new Map<string, string>();

  constructor() {
    this.#open();
  }

  want(names: readonly string[]): void {
    const subscribe = names.filter((name) => !this.names.has(name));
    const unsubscribe = [...this.names].filter((name) => !names.includes(name));
    this.names = new Set(names);
    for (const name of unsubscribe) this.held.delete(name);
    this.#request({ subscribe, unsubscribe });
  }

  reconnect(): void {
    this.#requests = [];
    this.#responses = [];
    this.#untaken = false;
    this.state = INITIAL_DELTA;
    this.#asked.clear();
    this.#known.clear();
    this.#nonces.clear();
    this.crossed.clear();
    this.acknowledged.clear();
    this.#open();
  }

  requestArrives(): boolean {
    const request = this.#requests.shift();
    if (request === undefined) return false;
    for (const name of request.unsubscribe) this.#forget(name);
    for (const name of request.subscribe) {
      this.#forget(name);
      this.#asked.add(name);
      if (this.#nonces.size > 0) this.crossed.add(name);
      const version = request.initial.get(name);
      if (version !== undefined) this.#known.set(name, version);
    }
    this.#reduce(request);
    return true;
  }

  responseArrives(): boolean {
    const response = this.#responses.shift();
    if (response === undefined) return false;
    const { resource, removed, nonce } = response;
    if (resource !== null && isBad(resource.version)) this.#request({ nonce, error: 'bad' });
    else {
      if (resource !== null && this.names.has(resource.name)) this.held.set(resource.name, resource.version);
      for (const name of removed) this.held.delete(name);
      this.#request({ nonce });
    }
    return true;
  }

  taken(): boolean {
    if (!this.#untaken) return false;
    this.#untaken = false;
    this.#reduce({ kind: 'writable' });
    return true;
  }

  changed(): void {
    this.#reduce({ kind: 'changed' });
  }

  /** The first request of a stream says everything that the proxy wants, and what of it it holds. */
  #open(): void {
    this.#request({ subscribe: [...this.names], initial: new Map(this.held) });
  }

  #request(request: Partial<Request>): void {
    this.#requests.push({
      kind: 'request',
      subscribe: [],
      unsubscribe: [],
      initial: new Map(),
      nonce: '',
      error: null,
      ...request,
    });
  }

  #forget(name: string): void {
    this.#asked.delete(name);
    this.#known.delete(name);
  }

  #reduce(event: DeltaEvent): void {
    const { state, response, reports } = reduceDelta(this.state, event, this.world);
    this.state = state;
    for (const report of reports) this.#checkReport(event, report);
    if (response !== null) this.#checkResponse(response);
  }

  #checkResponse(response: DeltaResponse): void {
    assert(!this.#untaken, 'a response was sent before the last was taken');
    assert(!this.#nonces.has(response.nonce), 'a nonce was used twice');
    const { resource, removed } = response;
    assert(resource !== null || removed.length > 0, 'a response held nothing');
    if (resource !== null) {
      assert(this.#asked.has(resource.name), `${resource.name} was sent unasked`);
      assert.equal(resource.version, this.world.get(resource.name)?.version, 'a resource was out of date');
      assert.notEqual(this.#known.get(resource.name), resource.version, 'a resource was sent twice');
      this.#known.set(resource.name, resource.version);
      this.crossed.delete(resource.name);
    }
    for (const name of removed) {
      assert(this.world.complete && this.world.get(name) === undefined, `${name} is not gone`);
      assert(this.#known.delete(name), `${name} was removed from a proxy that has none`);
    }
    this.#nonces.set(response.nonce, response);
    this.#responses.push(response);
    this.#untaken = true;
  }

  /** An answer is the proxy's own, for the version sent with its nonce; or the proxy kept the version. */
  #checkReport(event: DeltaEvent, report: Report): void {
    if (report.kind !== 'acknowledged' && report.kind !== 'rejected') return;
    const answered = event.kind === 'request' ? this.#nonces.get(event.nonce)?.resource : undefined;
    const answers = answered?.name === report.name && answered.version === report.version;
    const error = event.kind === 'request' ? event.error : null;
    const kept =
      this.#known.get(report.name) === report.version &&
      this.world.get(report.name)?.version === report.version;
    assert(answers || kept, 'an answer that nobody gave');
    assert.equal(report.kind === 'rejected', error !== null);
    if (report.kind === 'acknowledged') this.acknowledged.set(report.name, report.version);
  }
}
