import test from 'ava';
import fc from 'fast-check';
import { parseSelector, selectorParts } from '../../src/identity/selector.ts';

for (const [text, type, key, value] of [
  ['unix:uid:1000', 'unix', 'uid', '1000'],
  ['unix:path:/usr/bin/a b', 'unix', 'path', '/usr/bin/a b'],
  ['k8s:pod-label:app.kubernetes.io/name:web', 'k8s', 'pod-label', 'app.kubernetes.io/name:web'],
  ['container:image:sha256:00ff', 'container', 'image', 'sha256:00ff'],
  ['unix:user:mère', 'unix', 'user', 'mère'],
] as const)
  test(`parts ${text} at its first two colons`, (t) => {
    t.deepEqual(selectorParts(parseSelector(text)), { type, key, value });
  });

for (const text of [
  '',
  'unix',
  'unix:uid',
  'unix:uid:',
  ':uid:1',
  'unix::1',
  'Unix:uid:1',
  '1unix:uid:1',
  ' unix:uid:1',
  'unix:u id:1',
  'unix:path:/a\nb',
  'unix:path:/a\u001b[31m',
  'unix:path:/a\u0085',
  'unix:path:/a\u202etxt',
  'unix:path:/a\u2028b',
  'unix:path:/a\ud800',
])
  test(`refuses ${JSON.stringify(text)}`, (t) => {
    t.throws(() => parseSelector(text), { code: 'selector_invalid' });
  });

test('accepts 1024 bytes and refuses more, counted in UTF-8', (t) => {
  const full = `unix:path:${'é'.repeat(507)}`;
  t.is(Buffer.byteLength(parseSelector(full)), 1024);
  t.throws(() => parseSelector(`${full}a`), { code: 'selector_invalid' });
});

test('the parts of a selector join to it again', (t) => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/),
      fc.stringMatching(/^[a-zA-Z0-9._/-]{1,12}$/),
      fc.stringMatching(/^[!-~]{1,30}$/),
      (type, key, value) => {
        t.deepEqual(selectorParts(parseSelector(`${type}:${key}:${value}`)), { type, key, value });
      },
    ),
  );
});
