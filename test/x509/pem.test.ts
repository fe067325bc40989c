import { randomBytes } from 'node:crypto';
import test from 'ava';
import { CarnetError } from '../../src/errors.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';

test('a block has lines of 64 characters and ends in a line feed (RFC 7468 §3)', (t) => {
  t.is(
    encodePem('PUBLIC KEY', new Uint8Array(50)),
    `-----BEGIN PUBLIC KEY-----\n${'A'.repeat(64)}\nAAA=\n-----END PUBLIC KEY-----\n`,
  );
});

test('blocks come back in their order', (t) => {
  const blocks = [1, 47, 48, 49, 1000].map((size) => randomBytes(size));
  const text = blocks.map((der) => encodePem('CERTIFICATE', der)).join('');
  t.deepEqual(decodePem('CERTIFICATE', text), blocks);
  t.deepEqual(decodePem('CERTIFICATE', text.replaceAll('\n', '\r\n')), blocks);
  t.deepEqual(decodePem('CERTIFICATE', '\n'), []);
});

const GOOD = encodePem('CERTIFICATE', Uint8Array.of(0x30, 0));
const MALFORMED: readonly [string, string][] = [
  ['another label', encodePem('PRIVATE KEY', Uint8Array.of(0x30, 0))],
  ['text before a block', `subject=CN=x\n${GOOD}`],
  ['text behind a block', `${GOOD}x`],
  ['no end', GOOD.slice(0, 40)],
  ['no contents', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'],
  ['contents that are not base64', GOOD.replace('MAA=', 'M*A=')],
  ['contents without their padding', GOOD.replace('MAA=', 'MAA')],
  ['a block within a block', GOOD.replace('MAA=', GOOD)],
  ['more than 1 MiB', ' '.repeat(2 ** 20 + 1)],
];

for (const [what, text] of MALFORMED)
  test(`refuses PEM with ${what}`, (t) => {
    t.like(
      t.throws(() => decodePem('CERTIFICATE', text), { instanceOf: CarnetError }),
      {
        code: 'der_malformed',
      },
    );
  });
