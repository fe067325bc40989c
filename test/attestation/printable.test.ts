import test from 'ava';
import fc from 'fast-check';
import { printable } from '../../src/attestation/printable.ts';
import { parseSelector } from '../../src/identity/selector.ts';

for (const [bytes, text] of [
  ['/usr/bin/web server', '/usr/bin/web server'],
  ['/opt/bücher', '/opt/bücher'],
  ['/a\nb\u001b[31m', '/a\\u{a}b\\u{1b}[31m'],
  ['/a\u202etxt', '/a\\u{202e}txt'],
  ['/a\\u{a}b', '/a\\u{5c}u{a}b'],
  [Buffer.from('/a\xff\n', 'latin1'), '/a\\xff\\u{a}'],
] as const)
  test(`shows ${JSON.stringify(bytes.toString('latin1'))} as ${text}`, (t) => {
    t.is(printable(Buffer.from(bytes)), text);
  });

test('different bytes never give the same text, and every text fits in a selector', (t) => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 6 }),
    fc
      .array(fc.constantFrom('\\', 'u', '{', 'x', 'f', '5c', '}', '\n', 'é', '\u2028'), { minLength: 1 })
      .map((parts) => Buffer.from(parts.join(''))),
  );
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      t.is(printable(a) === printable(b), Buffer.compare(a, b) === 0);
      t.notThrows(() => parseSelector(`unix:path:${printable(a)}`.slice(0, 200)));
    }),
    { numRuns: 2000 },
  );
});
