import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import {
  INITIAL_STREAM,
  reduceStream,
  type StreamEvent,
  type StreamResponse,
} from '../../src/sds/stream-reducer.ts';
import type { Report } from '../../src/sds/subscription.ts';
import { isBad, type Pair, quiesce, run, steps } from './steps.ts';
import { World } from './world.ts';

type Request = StreamEvent & { kind: 'request' };

test('state of the world: after any events a proxy comes to hold the latest of all it asks for', (t) => {
  fc.assert(
    fc.property(steps, (taken) => {
      const pair = new StreamPair();
      run(pair, taken);
      quiesce(pair);
      const wanted = [...pair.names].filter((name) => pair.world.get(name) !== undefined);
      assert.deepEqual(
        pair.state.subscription.waiting,
        [...pair.names].filter((name) => pair.world.get(name) === undefined),
      );
      if (wanted.some((name) => isBad(pair.world.get(name)?.version ?? ''))) return;
      for (const name of wanted) {
        const { version } = pair.world.get(name) ?? {};
        assert.equal(pair.held.get(name), version, `${name} is not the latest`);
        assert.equal(pair.acknowledged.get(name), version, `${name} is not known to be acknowledged`);
      }
    }),
    { numRuns: 5000, seed: 5 },
  );
  t.pass();
});

/**
 * A proxy that does what Envoy's GrpcMuxImpl does, the wire, and the reducer, whose every step is held to
 * the protocol's rules.
 */
class StreamPair implements Pair {
  readonly world = new World();
  // The proxy: what it wants, holds and last accepted.
  names = new Set<string>();
  readonly held = new Map<string, string>();
  #version = '';
  #nonce = '';
  // The wire.
  #requests: Request[] = [];
  #responses: StreamResponse[] = [];
  #untaken = false;
  // The server, and what it must have been told and have done on this stream.
  state = INITIAL_STREAM;
  #asked: readonly string[] = [];
  #nonces: string[] = [];
  #sent = new Map<string, string>();
  readonly acknowledged = new Map<string, string>();
  #open = new Map<string, StreamResponse>();
  /** The version of the last response, if the proxy refused it. */
  #refused: string | null = null;

  constructor() {
    this.#request(null);
  }

  want(names: readonly string[]): void {
    this.names = new Set(names);
    for (const name of this.held.keys()) if (!this.names.has(name)) this.held.delete(name);
    this.#request(null);
  }

  reconnect(): void {
    this.#nonce = '';
    this.#requests = [];
    this.#responses = [];
    this.#untaken = false;
    this.state = INITIAL_STREAM;
    this.#asked = [];
    this.#nonces = [];
    this.#sent.clear();
    this.#open.clear();
    this.#refused = null;
    this.acknowledged.clear();
    this.#request(null);
  }

  requestArrives(): boolean {
    const request = this.#requests.shift();
    if (request === undefined) return false;
    const stale = this.#nonces.length > 0 && request.nonce !== '' && request.nonce !== this.#nonces.at(-1);
    const before = this.state;
    if (!stale) {
      this.#asked = request.names;
      for (const name of this.#sent.keys()) if (!request.names.includes(name)) this.#sent.delete(name);
    }
    const answered = stale ? undefined : this.#open.get(request.nonce);
    this.#open.delete(request.nonce);
    if (answered !== undefined && request.error !== null) this.#refused = answered.version;
    const reports = this.#reduce(request);
    if (stale) assert.equal(this.state, before, 'a stale request changed something');
    this.#checkAnswers(request, answered, reports);
    return true;
  }

  responseArrives(): boolean {
    const response = this.#responses.shift();
    if (response === undefined) return false;
    this.#nonce = response.nonce;
    if (response.resources.some(({ version }) => isBad(version))) this.#request('bad');
    else {
      for (const { name, version } of response.resources)
        if (this.names.has(name)) this.held.set(name, version);
      this.#version = response.version;
      this.#request(null);
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

  #request(error: string | null): void {
    this.#requests.push({
      kind: 'request',
      names: [...this.names],
      version: this.#version,
      nonce: this.#nonce,
      error,
    });
  }

  #reduce(event: StreamEvent): readonly Report[] {
    const { state, response, reports } = reduceStream(this.state, event, this.world);
    this.state = state;
    if (response !== null) this.#checkResponse(response);
    return reports;
  }

  #checkResponse(response: StreamResponse): void {
    assert(!this.#untaken, 'a response was sent before the last was taken');
    assert(!this.#nonces.includes(response.nonce), 'a nonce was used twice');
    for (const { name, version } of response.resources) {
      assert(this.#asked.includes(name), `${name} was sent unasked`);
      assert.equal(version, this.world.get(name)?.version, `${name} was sent out of date`);
    }
    const news = response.resources.filter(({ name, version }) => this.#sent.get(name) !== version);
    const inOtherCompany = this.#refused !== null && this.#refused !== response.version;
    assert(news.length > 0 || inOtherCompany, 'a response held nothing new');
    this.#refused = null;
    this.#sent = new Map(response.resources.map(({ name, version }) => [name, version]));
    this.#nonces.push(response.nonce);
    this.#open.set(response.nonce, response);
    this.#responses.push(response);
    this.#untaken = true;
  }

  /** Only the first answer to the last response counts, and it counts for versions which that response held. */
  #checkAnswers(request: Request, answered: StreamResponse | undefined, reports: readonly Report[]): void {
    for (const report of reports) {
      if (report.kind !== 'acknowledged' && report.kind !== 'rejected') continue;
      assert(answered !== undefined, 'an answer was reported that nobody gave');
      assert(
        answered.resources.some(({ name, version }) => name === report.name && version === report.version),
        'an answer was reported for a version that was not sent',
      );
      assert.equal(report.kind === 'rejected', request.error !== null);
      if (report.kind === 'acknowledged') this.acknowledged.set(report.name, report.version);
    }
  }
}
