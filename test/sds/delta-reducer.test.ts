import test from 'ava';
import {
  type DeltaEvent,
  type DeltaResponse,
  INITIAL_DELTA,
  reduceDelta,
} from '../../src/sds/delta-reducer.ts';
import type { Report } from '../../src/sds/subscription.ts';
import { World } from './world.ts';

test('answers a subscription with what is available, and says what waits', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.send({ subscribe: ['default', 'spiffe://td/other'] });
  t.deepEqual(stream.last(), { nonce: '1', held: { default: 'a1' }, removed: [] });
  t.deepEqual(stream.reported('waiting'), [{ kind: 'waiting', names: ['spiffe://td/other'] }]);
});

test('sends each resource in a response of its own, so that a bad one holds up no other', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.send({ subscribe: ['default', 'ROOTCA'] });
  t.deepEqual(stream.last(), { nonce: '1', held: { default: 'a1' }, removed: [] });
  stream.taken();
  t.deepEqual(stream.last(), { nonce: '2', held: { ROOTCA: 'b1' }, removed: [] });
  stream.taken();
  t.is(stream.responses.length, 2);
});

test('sends only what changed', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.send({ subscribe: ['default', 'ROOTCA'] });
  stream.taken();
  stream.taken();
  stream.world.versions.set('ROOTCA', 'b2');
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '3', held: { ROOTCA: 'b2' }, removed: [] });
});

test('sends a name that is subscribed again, even in the version that was sent (DeltaDiscoveryRequest, NOTE)', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.send({ subscribe: ['default'] });
  stream.taken();
  stream.send({ subscribe: ['default'] });
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'a1' }, removed: [] });
});

test('a name in both lists of a request was dropped and is wanted again', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.send({ subscribe: ['default'] });
  stream.taken();
  stream.send({ subscribe: ['default'], unsubscribe: ['default'] });
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'a1' }, removed: [] });
  t.deepEqual(stream.reported('dropped'), []);
});

test('what was unsubscribed is sent no more', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.send({ subscribe: ['default', 'ROOTCA'] });
  stream.taken();
  stream.taken();
  stream.send({ unsubscribe: ['ROOTCA', 'never-asked-for'] });
  stream.world.versions.set('ROOTCA', 'b2');
  stream.changed();
  t.is(stream.responses.length, 2);
  t.deepEqual(stream.reported('dropped'), [{ kind: 'dropped', name: 'ROOTCA' }]);
});

test('each answer counts for what was last sent with its nonce, in any order', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.send({ subscribe: ['default'] });
  stream.taken();
  stream.send({ subscribe: ['ROOTCA'] });
  stream.taken();
  stream.send({ nonce: '2' });
  stream.send({ nonce: '1' });
  stream.send({ nonce: '1' });
  t.deepEqual(stream.reported('acknowledged'), [
    { kind: 'acknowledged', name: 'ROOTCA', version: 'b1' },
    { kind: 'acknowledged', name: 'default', version: 'a1' },
  ]);
});

test('an answer to what was replaced since, or to a nonce never sent, counts for nothing', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.send({ subscribe: ['default'] });
  stream.taken();
  stream.world.versions.set('default', 'a2');
  stream.changed();
  stream.taken();
  stream.send({ nonce: '1' });
  stream.send({ nonce: '1', error: 'no' });
  stream.send({ nonce: '99' });
  stream.send({ nonce: '' });
  t.deepEqual(
    stream.reports.filter(({ kind }) => kind === 'acknowledged' || kind === 'rejected'),
    [],
  );
});

test('a refusal is reported with its message and not answered until there is something else', (t) => {
  const stream = new Stream({ default: 'bad' });
  stream.send({ subscribe: ['default'] });
  stream.taken();
  stream.send({ nonce: '1', error: 'Failed to load private key' });
  stream.changed();
  t.deepEqual(stream.reported('rejected'), [
    { kind: 'rejected', name: 'default', version: 'bad', message: 'Failed to load private key' },
  ]);
  t.is(stream.responses.length, 1);
});

test('what a proxy kept from an earlier stream is not sent while it is current, and counts as acknowledged', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b2' });
  stream.send({
    subscribe: ['default', 'ROOTCA'],
    initial: new Map([
      ['default', 'a1'],
      ['ROOTCA', 'b1'],
      ['not-subscribed', 'c1'],
    ]),
  });
  t.deepEqual(stream.last(), { nonce: '1', held: { ROOTCA: 'b2' }, removed: [] });
  t.deepEqual(stream.reported('acknowledged'), [{ kind: 'acknowledged', name: 'default', version: 'a1' }]);
  t.deepEqual(stream.reported('kept'), [
    { kind: 'kept', name: 'default', version: 'a1' },
    { kind: 'kept', name: 'ROOTCA', version: 'b1' },
  ]);
  stream.taken();
  stream.world.versions.set('default', 'a2');
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'a2' }, removed: [] });
});

test('initial versions after the first request are not looked at', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.send({ subscribe: ['default'] });
  stream.taken();
  stream.send({ subscribe: ['ROOTCA'], initial: new Map([['ROOTCA', 'b1']]) });
  t.deepEqual(stream.last(), { nonce: '2', held: { ROOTCA: 'b1' }, removed: [] });
});

test('removes what the proxy has and the caller no longer holds, once', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.send({ subscribe: ['default', 'ROOTCA'] });
  stream.taken();
  stream.taken();
  stream.world.versions.delete('default');
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '3', held: null, removed: ['default'] });
  stream.taken();
  stream.changed();
  t.is(stream.responses.length, 3);
  stream.world.versions.set('default', 'a1');
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '4', held: { default: 'a1' }, removed: [] });
});

test('removes nothing that the proxy was never sent: Envoy would go on without the secret', (t) => {
  const stream = new Stream({});
  stream.send({ subscribe: ['default'] });
  stream.changed();
  t.is(stream.responses.length, 0);
});

test('removes what a proxy kept from an earlier stream, but not while it may yet be issued', (t) => {
  const stream = new Stream({});
  stream.world.complete = false;
  stream.send({ subscribe: ['default'], initial: new Map([['default', 'a1']]) });
  t.is(stream.responses.length, 0);
  stream.world.complete = true;
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '1', held: null, removed: ['default'] });
});

test('an initial version that is none of ours is forgotten', (t) => {
  const stream = new Stream({});
  stream.send({ subscribe: ['default'], initial: new Map([['default', 'x'.repeat(65)]]) });
  t.is(stream.responses.length, 0);
  t.is(stream.state.subscription.sent.get('default'), null);
});

test('a proxy that does not read is sent nothing, then the latest alone', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.send({ subscribe: ['default'] });
  for (let i = 2; i <= 1000; i++) {
    stream.world.versions.set('default', `a${i}`);
    stream.changed();
  }
  t.is(stream.responses.length, 1);
  stream.taken();
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'a1000' }, removed: [] });
});

test('refuses to hold more than 100 names, however many requests bring them', (t) => {
  const stream = new Stream({});
  stream.send({ subscribe: Array.from({ length: 60 }, (_, i) => `a${i}`) });
  const more = Array.from({ length: 60 }, (_, i) => `b${i}`);
  t.throws(() => stream.send({ subscribe: more }), { code: 'invalid_argument' });
  t.notThrows(() => stream.send({ subscribe: more.slice(0, 40) }));
});

/** A stream under test, and all that came of it. */
class Stream {
  readonly world: World;
  readonly responses: DeltaResponse[] = [];
  readonly reports: Report[] = [];
  state = INITIAL_DELTA;

  constructor(versions: Record<string, string>) {
    this.world = new World(versions);
  }

  send(request: Partial<DeltaEvent & { kind: 'request' }>): void {
    this.#reduce({
      kind: 'request',
      subscribe: [],
      unsubscribe: [],
      initial: new Map(),
      nonce: '',
      error: null,
      ...request,
    });
  }

  changed(): void {
    this.#reduce({ kind: 'changed' });
  }

  taken(): void {
    this.#reduce({ kind: 'writable' });
  }

  last(): { nonce: string; held: Record<string, string> | null; removed: readonly string[] } | undefined {
    const response = this.responses.at(-1);
    return (
      response && {
        nonce: response.nonce,
        held: response.resource && { [response.resource.name]: response.resource.version },
        removed: response.removed,
      }
    );
  }

  reported(kind: Report['kind']): Report[] {
    return this.reports.filter((report) => report.kind === kind);
  }

  #reduce(event: DeltaEvent): void {
    const { state, response, reports } = reduceDelta(this.state, event, this.world);
    this.state = state;
    this.reports.push(...reports);
    if (response !== null) this.responses.push(response);
  }
}
