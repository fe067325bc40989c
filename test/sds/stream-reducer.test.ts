import test from 'ava';
import {
  INITIAL_STREAM,
  reduceStream,
  type StreamEvent,
  type StreamResponse,
} from '../../src/sds/stream-reducer.ts';
import type { Report } from '../../src/sds/subscription.ts';
import { World } from './world.ts';

test('answers the first request with everything that is asked for and available', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.ask(['default', 'ROOTCA', 'spiffe://td/other']);
  t.deepEqual(stream.last(), { nonce: '1', held: { default: 'a1', ROOTCA: 'b1' } });
  t.deepEqual(stream.reported('waiting'), [{ kind: 'waiting', names: ['spiffe://td/other'] }]);
  t.deepEqual(
    stream.reported('sent').map((report) => report.kind === 'sent' && [report.name, report.version]),
    [
      ['default', 'a1'],
      ['ROOTCA', 'b1'],
    ],
  );
});

test('answers the first request of a stream also when it names the current version (xDS, reconnection)', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.send({ names: ['default'], version: 'a1' });
  t.deepEqual(stream.last(), { nonce: '1', held: { default: 'a1' } });
  t.deepEqual(stream.reported('acknowledged'), []);
});

test('takes any nonce in the first request of a stream: some proxies keep one from an earlier stream', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.send({ names: ['default'], version: 'a0', nonce: '17' });
  t.deepEqual(stream.last(), { nonce: '1', held: { default: 'a1' } });
  t.deepEqual(stream.reported('rejected'), []);
});

test('tells what a proxy had already, from the first request of a stream for one name (xDS, reconnection)', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.send({ names: ['default'], version: 'a0' });
  t.deepEqual(stream.reported('kept'), [{ kind: 'kept', name: 'default', version: 'a0' }]);
  stream.send({ names: ['default'], version: 'a1', nonce: '1' });
  t.is(stream.reported('kept').length, 1);
  for (const [names, version] of [
    [['default', 'ROOTCA'], 'digest'],
    [['default'], ''],
    [['default'], 'x'.repeat(65)],
  ] as const) {
    const other = new Stream({ default: 'a1', ROOTCA: 'b1' });
    other.send({ names: [...names], version });
    t.deepEqual(other.reported('kept'), []);
  }
});

test('names the only resource by its version, and several by a digest of all', (t) => {
  const one = new Stream({ default: 'a1' });
  one.ask(['default']);
  t.is(one.response?.version, 'a1');
  const two = new Stream({ default: 'a1', ROOTCA: 'b1' });
  two.ask(['default', 'ROOTCA']);
  const first = two.response?.version;
  t.regex(first ?? '', /^[0-9a-f]{16}$/);
  two.world.versions.set('ROOTCA', 'b2');
  two.taken();
  two.changed();
  t.regex(two.response?.version ?? '', /^[0-9a-f]{16}$/);
  t.not(two.response?.version, first);
});

test('sends nothing to a stream that asks for nothing', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.ask([]);
  stream.world.versions.set('default', 'a2');
  stream.changed();
  t.is(stream.responses.length, 0);
});

test('an acknowledgement is reported once and not answered', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.ask(['default']);
  stream.taken();
  stream.acknowledge();
  stream.acknowledge();
  t.deepEqual(stream.reported('acknowledged'), [{ kind: 'acknowledged', name: 'default', version: 'a1' }]);
  t.is(stream.responses.length, 1);
});

test('a refusal is reported with its message and not answered until there is something else', (t) => {
  const stream = new Stream({ default: 'bad' });
  stream.ask(['default']);
  stream.taken();
  stream.send({ names: ['default'], nonce: '1', error: 'Failed to load certificate chain' });
  stream.changed();
  t.deepEqual(stream.reported('rejected'), [
    { kind: 'rejected', name: 'default', version: 'bad', message: 'Failed to load certificate chain' },
  ]);
  t.is(stream.responses.length, 1);
  stream.world.versions.set('default', 'good');
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'good' } });
});

test('a request after a refusal, with its nonce and the same version, is no acknowledgement', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.ask(['default']);
  stream.taken();
  stream.send({ names: ['default'], nonce: '1', version: 'a1', error: 'no' });
  stream.send({ names: ['default', 'more'], nonce: '1', version: 'a1' });
  t.deepEqual(stream.reported('acknowledged'), []);
});

test('a proxy that keeps its version without error detail has refused (xDS, older clients)', (t) => {
  const stream = new Stream({ default: 'a2' });
  stream.ask(['default']);
  stream.taken();
  stream.send({ names: ['default'], nonce: '1', version: 'a1' });
  t.deepEqual(stream.reported('rejected'), [
    {
      kind: 'rejected',
      name: 'default',
      version: 'a2',
      message: 'the proxy kept version "a1" and gave no error detail',
    },
  ]);
});

test('a refusal beside something acknowledged before is reported of the news only', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.ask(['default', 'ROOTCA']);
  stream.taken();
  stream.acknowledge();
  stream.world.versions.set('default', 'a2');
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'a2', ROOTCA: 'b1' } });
  stream.send({ names: ['default', 'ROOTCA'], nonce: '2', error: 'no' });
  t.deepEqual(stream.reported('rejected'), [
    { kind: 'rejected', name: 'default', version: 'a2', message: 'no' },
  ]);
});

test('what was refused beside something else is sent again once the rest has changed', (t) => {
  const stream = new Stream({ default: 'bad', ROOTCA: 'b1' });
  stream.ask(['default', 'ROOTCA']);
  stream.taken();
  stream.send({ names: ['default', 'ROOTCA'], nonce: '1', error: 'no' });
  t.is(stream.responses.length, 1);
  stream.send({ names: ['ROOTCA'], nonce: '1' });
  t.deepEqual(stream.last(), { nonce: '2', held: { ROOTCA: 'b1' } });
  stream.taken();
  stream.acknowledge();
  t.deepEqual(stream.reported('acknowledged'), [{ kind: 'acknowledged', name: 'ROOTCA', version: 'b1' }]);
  t.is(stream.responses.length, 2);
});

test('a stale nonce changes nothing, not even the names', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.ask(['default']);
  stream.taken();
  stream.world.versions.set('default', 'a2');
  stream.changed();
  const before = stream.state;
  stream.send({ names: ['default', 'ROOTCA'], version: 'a1', nonce: '1' });
  stream.send({ names: [], version: 'a1', nonce: '1', error: 'no' });
  t.is(stream.state, before);
  t.deepEqual(stream.reported('acknowledged'), []);
});

test('a request without a nonce subscribes and acknowledges nothing', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.ask(['default']);
  stream.taken();
  stream.send({ names: ['default', 'ROOTCA'], version: 'a1' });
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'a1', ROOTCA: 'b1' } });
  t.deepEqual(stream.reported('acknowledged'), []);
});

test('a name asked for again after it was left is sent again in the same version', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.ask(['default', 'ROOTCA']);
  stream.taken();
  stream.acknowledge(['default']);
  t.deepEqual(stream.reported('dropped'), [{ kind: 'dropped', name: 'ROOTCA' }]);
  t.is(stream.responses.length, 1);
  stream.acknowledge(['default', 'ROOTCA']);
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'a1', ROOTCA: 'b1' } });
});

test('withholds what the caller may not have, and sends it once it may', (t) => {
  const stream = new Stream({});
  stream.ask(['default']);
  t.is(stream.responses.length, 0);
  stream.world.versions.set('default', 'a1');
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '1', held: { default: 'a1' } });
  t.deepEqual(stream.reported('waiting'), [
    { kind: 'waiting', names: ['default'] },
    { kind: 'waiting', names: [] },
  ]);
});

test('sends nothing when a secret is withdrawn, and leaves it out of the next response', (t) => {
  const stream = new Stream({ default: 'a1', ROOTCA: 'b1' });
  stream.ask(['default', 'ROOTCA']);
  stream.taken();
  stream.world.versions.delete('default');
  stream.changed();
  t.is(stream.responses.length, 1);
  stream.world.versions.set('ROOTCA', 'b2');
  stream.changed();
  t.deepEqual(stream.last(), { nonce: '2', held: { ROOTCA: 'b2' } });
});

test('a proxy that does not read is sent nothing, then the latest alone', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.ask(['default']);
  for (let i = 2; i <= 1000; i++) {
    stream.world.versions.set('default', `a${i}`);
    stream.changed();
  }
  t.is(stream.responses.length, 1);
  stream.taken();
  t.deepEqual(stream.last(), { nonce: '2', held: { default: 'a1000' } });
  t.is(stream.responses.length, 2);
});

test('a change and back again while a proxy does not read is no change', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.ask(['default']);
  stream.world.versions.set('default', 'a2');
  stream.changed();
  stream.world.versions.set('default', 'a1');
  stream.changed();
  stream.taken();
  t.is(stream.responses.length, 1);
});

for (const [what, names] of [
  ['101 names', Array.from({ length: 101 }, (_, i) => `name-${i}`)],
  ['a name of 2049 characters', ['x'.repeat(2049)]],
  ['names of more than 32 KiB together', Array.from({ length: 17 }, (_, i) => `${i}`.padStart(2048, 'x'))],
] as const)
  test(`refuses ${what}`, (t) => {
    const stream = new Stream({});
    t.throws(() => stream.ask(names), { code: 'invalid_argument' });
  });

test('a name repeated in a request counts once', (t) => {
  const stream = new Stream({ default: 'a1' });
  stream.ask(Array.from({ length: 5000 }, () => 'default'));
  t.deepEqual(stream.last(), { nonce: '1', held: { default: 'a1' } });
});

/** A stream under test, and all that came of it. */
class Stream {
  readonly world: World;
  readonly responses: StreamResponse[] = [];
  readonly reports: Report[] = [];
  state = INITIAL_STREAM;

  constructor(versions: Record<string, string>) {
    this.world = new World(versions);
  }

  send(request: Partial<StreamEvent & { kind: 'request' }>): void {
    this.#reduce({ kind: 'request', names: [], version: '', nonce: '', error: null, ...request });
  }

  ask(names: readonly string[]): void {
    this.send({ names });
  }

  acknowledge(names: readonly string[] = [...this.state.subscription.sent.keys()]): void {
    this.send({ names, version: this.response?.version ?? '', nonce: this.response?.nonce ?? '' });
  }

  changed(): void {
    this.#reduce({ kind: 'changed' });
  }

  taken(): void {
    this.#reduce({ kind: 'writable' });
  }

  get response(): StreamResponse | undefined {
    return this.responses.at(-1);
  }

  last(): { nonce: string; held: Record<string, string> } | undefined {
    return (
      this.response && {
        nonce: this.response.nonce,
        held: Object.fromEntries(this.response.resources.map(({ name, version }) => [name, version])),
      }
    );
  }

  reported(kind: Report['kind']): Report[] {
    return this.reports.filter((report) => report.kind === kind);
  }

  #reduce(event: StreamEvent): void {
    const { state, response, reports } = reduceStream(this.state, event, this.world);
    this.state = state;
    this.reports.push(...reports);
    if (response !== null) this.responses.push(response);
  }
}
