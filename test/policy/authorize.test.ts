import test from 'ava';
import fc from 'fast-check';
import { parseSelector, type Selector } from '../../src/identity/selector.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { authorize, explain } from '../../src/policy/authorize.ts';
import type { RegistrationEntry } from '../../src/policy/entry.ts';
import { EntryIndex } from '../../src/policy/entry-index.ts';
import { parseEntry } from '../../src/policy/parse-entry.ts';

const DOMAIN = parseTrustDomain('td');
const CALLER = [
  'container:id:c0ffee',
  'unix:gid:7',
  'unix:path:/bin/web',
  'unix:uid:1000',
  'unix:user:web',
].map(parseSelector);

function entry(id: string, spiffeId: string, ...selectors: string[]): RegistrationEntry {
  return { ...parseEntry({ id, spiffe_id: spiffeId, selectors }, DOMAIN), id, version: 1 };
}

function ids(selectors: readonly Selector[], ...entries: RegistrationEntry[]): string[] {
  return authorize(selectors, entries).map(({ spiffeId }) => spiffeId);
}

test('grants what an entry says, with the version that said it', (t) => {
  const web: RegistrationEntry = {
    ...entry('web', '/web', 'unix:uid:1000'),
    version: 3,
    dnsNames: ['web.internal'],
    ttlSeconds: 60,
    hint: null,
    federatesWith: [],
  };
  t.deepEqual(authorize(CALLER, [web]) as unknown, [
    {
      entryId: 'web',
      entryVersion: 3,
      spiffeId: 'spiffe://td/web',
      dnsNames: ['web.internal'],
      ttlSeconds: 60,
      hint: null,
      federatesWith: [],
    },
  ]);
});

test('grants nothing unless all selectors match', (t) => {
  t.deepEqual(ids(CALLER, entry('a', '/a', 'unix:uid:1000', 'unix:gid:8')), []);
  t.deepEqual(ids([], entry('a', '/a', 'unix:uid:1000')), []);
});

test('a selector matches as a whole, not as a beginning', (t) => {
  t.deepEqual(ids(CALLER, entry('a', '/a', 'unix:uid:100'), entry('b', '/b', 'unix:uid:10000')), []);
});

test('an entry without selectors, which no parser lets through, grants nothing', (t) => {
  const everybody = { ...entry('a', '/a', 'unix:uid:1'), selectors: [] };
  t.deepEqual(ids(CALLER, everybody), []);
  t.deepEqual(new EntryIndex([everybody]).authorize(CALLER), []);
});

test('several entries grant several identities, in the order of their IDs', (t) => {
  const entries = [
    entry('b', '/1', 'unix:uid:1000'),
    entry('B', '/2', 'unix:gid:7'),
    entry('a', '/3', 'unix:gid:7'),
  ];
  t.deepEqual(ids(CALLER, ...entries), ['spiffe://td/2', 'spiffe://td/3', 'spiffe://td/1']);
});

test('of two entries that give the same identity the first by ID stands', (t) => {
  const entries = [entry('b', '/1000', 'unix:uid:1000'), entry('a', '/{uid}', 'unix:gid:7')];
  t.deepEqual(
    authorize(CALLER, entries).map(({ entryId }) => entryId),
    ['a'],
  );
});

for (const [template, filled] of [
  ['/{uid}', '/1000'],
  ['/{unix:uid}', '/1000'],
  ['/u-{uid}.x/{user}', '/u-1000.x/web'],
  ['/{container:id}', '/c0ffee'],
] as const)
  test(`fills ${template} to ${filled}`, (t) => {
    t.deepEqual(ids(CALLER, entry('a', template, 'unix:gid:7')), [`spiffe://td${filled}`]);
  });

test('fills a placeholder whose key holds colons', (t) => {
  const caller = [...CALLER, parseSelector('k8s:pod-label:app:shop')];
  t.deepEqual(ids(caller, entry('a', '/{k8s:pod-label:app}', 'unix:gid:7')), ['spiffe://td/shop']);
});

for (const [claim, template, ...more] of [
  ['nothing gives a value', '/{sa}'],
  ['another type has the key', '/{k8s:uid}'],
  ['a key is only begun', '/{ui}'],
  ['two values differ', '/{gid}', 'unix:gid:8'],
  ['two types have the key with different values', '/{uid}', 'k8s:uid:x'],
  ['the value holds a slash', '/{path}'],
  ['the value is a relative segment', '/a/{user2}', 'unix:user2:..'],
  ['the value holds a space', '/{name}', 'x:name:a b'],
  ['the value holds a percent sign', '/{name}', 'x:name:a%2fb'],
  ['the value is not ASCII', '/{name}', 'x:name:é'],
  ['the value holds a placeholder', '/{name}', 'x:name:{uid}'],
  [
    'the ID becomes longer than 2048 bytes (SPIFFE-ID §2.3)',
    `/{name}/${'a'.repeat(1500)}`,
    `x:name:${'b'.repeat(900)}`,
  ],
] as const)
  test(`grants nothing where ${claim}`, (t) => {
    const caller = [...CALLER, ...more.map(parseSelector)];
    const template_ = entry('a', template, 'unix:uid:1000');
    t.deepEqual(ids(caller, template_), []);
    t.is(explain(caller, [template_])[0]?.outcome, 'placeholder_unfilled');
  });

test('a value that repeats is one value', (t) => {
  const caller = [...CALLER, parseSelector('k8s:uid:1000'), parseSelector('unix:uid:1000')];
  t.deepEqual(ids(caller, entry('a', '/{uid}', 'unix:gid:7')), ['spiffe://td/1000']);
});

test('explains each entry, by ID', (t) => {
  const entries = [
    entry('d', '/{sa}', 'unix:uid:1000'),
    entry('c', '/web', 'unix:gid:7'),
    entry('b', '/web', 'unix:uid:1000'),
    entry('a', '/a', 'unix:uid:1000', 'unix:uid:5', 'x:y:z'),
  ];
  const [a, b, c, d] = explain(CALLER, entries);
  t.like(a, { outcome: 'selectors_missing', missing: ['unix:uid:5', 'x:y:z'] });
  t.like(b, { outcome: 'granted', spiffeId: 'spiffe://td/web' });
  t.like(c, { outcome: 'shadowed', spiffeId: 'spiffe://td/web', by: 'b' });
  t.like(d, { outcome: 'placeholder_unfilled', fault: 'no selector of the caller has a value for {sa}' });
});

const selectors = fc.uniqueArray(
  fc.constantFrom(
    ...['a', 'b', 'c', 'd'].flatMap((key) => [1, 2].map((n) => parseSelector(`t:${key}:${n}`))),
  ),
  { maxLength: 6 },
);
const entries = fc.uniqueArray(
  fc.record({
    id: fc.stringMatching(/^[a-c0-9]{1,2}$/),
    version: fc.constant(1),
    spiffeId: fc.constantFrom('/x', '/y', '/{a}', '/{t:b}/{c}').map((path) => `spiffe://td${path}`),
    selectors: selectors.filter(({ length }) => length > 0),
    dnsNames: fc.constant([]),
    ttlSeconds: fc.constant(null),
    hint: fc.constant(null),
    federatesWith: fc.constant([]),
  }),
  { selector: ({ id }) => id, maxLength: 20 },
);

test('the index answers what a scan of all entries answers', (t) => {
  fc.assert(
    fc.property(selectors, entries, (caller, all) => {
      t.deepEqual(new EntryIndex(all).authorize(caller), authorize(caller, all));
    }),
    { numRuns: 1000 },
  );
});

test('the order of entries and selectors changes nothing', (t) => {
  fc.assert(
    fc.property(selectors, entries, (caller, all) => {
      t.deepEqual(authorize(caller.toReversed(), all.toReversed()), authorize(caller, all));
    }),
  );
});

test('two callers never fill one template with different values to the same ID', (t) => {
  const value = fc.stringMatching(/^[ab.-]{1,3}$/);
  const template = fc.constantFrom('/{a}/{b}', '/{a}-/{b}', '/a-{a}/-{b}', '/{a}.b/b{b}');
  fc.assert(
    fc.property(template, fc.tuple(value, value), fc.tuple(value, value), (path, one, other) => {
      const [first, second] = [one, other].map(([a, b]) =>
        ids(['t:g:1', `t:a:${a}`, `t:b:${b}`].map(parseSelector), entry('e', path, 't:g:1')),
      );
      if (first?.length === 1 && second?.length === 1)
        t.is(first[0] === second[0], one.join() === other.join());
      else t.pass();
    }),
    { numRuns: 2000 },
  );
});
