import test from 'ava';
import fc from 'fast-check';
import { Claims } from '../../src/gen/workload.ts';
import { decodeClaims, encodeClaims } from '../../src/workload-api/claims.ts';

test('claims of any shape go over the wire and come back as they were', (t) => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 5 })), (given) => {
      const claims = JSON.parse(JSON.stringify(given)) as Record<string, unknown>;
      const bytes = Claims.encode(encodeClaims(claims)).finish();
      t.deepEqual(JSON.parse(JSON.stringify(decodeClaims(Claims.decode(bytes)))), claims);
    }),
  );
});

test('claims that are nested without end are refused', (t) => {
  const deep = (depth: number, wrap: (inner: unknown) => unknown): Record<string, unknown> => {
    let value: unknown = 1;
    for (let i = 0; i < depth; i++) value = wrap(value);
    return { value };
  };
  for (const wrap of [(inner: unknown) => ({ inner }), (inner: unknown) => [inner]]) {
    t.throws(() => encodeClaims(deep(1000, wrap)), { code: 'invalid_argument' });
    t.notThrows(() => encodeClaims(deep(10, wrap)));
  }
});
