import test from 'ava';
import fc from 'fast-check';
import { type Bearer, type DenialScope, denialOf } from '../../src/revocation/denial.ts';

const BEARER: Bearer = {
  identity: 'spiffe://carnet.test/web',
  instance: 'container:1',
  node: 'node-1',
};
const NOBODY: DenialScope = { identity: null, instance: null, node: null, liftedAt: null };

const table: [title: string, denial: Partial<DenialScope>, isRefused: boolean][] = [
  ['its instance', { instance: BEARER.instance }, true],
  ['its identity', { identity: BEARER.identity }, true],
  ['its node', { node: BEARER.node }, true],
  ['its identity at its instance', { identity: BEARER.identity, instance: BEARER.instance }, true],
  ['its identity at its node', { identity: BEARER.identity, node: BEARER.node }, true],
  ['another instance', { instance: 'container:2' }, false],
  [
    'another identity at its instance',
    { identity: 'spiffe://carnet.test/x', instance: BEARER.instance },
    false,
  ],
  ['its identity at another node', { identity: BEARER.identity, node: 'node-2' }, false],
  ['its instance, and lifted', { instance: BEARER.instance, liftedAt: new Date() }, false],
];

for (const [title, denial, isRefused] of table)
  test(`a denial of ${title} ${isRefused ? 'refuses' : 'does not refuse'} a bearer`, (t) => {
    const denials = [{ ...NOBODY, ...denial }];
    t.is(denialOf(denials, BEARER), isRefused ? denials[0] : undefined);
    // Asked again of the same list.
    t.is(denialOf(denials, BEARER), isRefused ? denials[0] : undefined);
  });

test('a bearer without a node is not refused by the denial of one', (t) => {
  t.is(denialOf([{ ...NOBODY, node: 'node-1' }], { ...BEARER, node: null }), undefined);
});

test('of any denials, one is found exactly where a look at each finds one', (t) => {
  const name = fc.constantFrom('a', 'b', 'c');
  const scope = fc
    .record({
      identity: fc.option(name),
      instance: fc.option(name),
      node: fc.option(name),
      liftedAt: fc.option(fc.constant(new Date(0))),
    })
    .filter(({ identity, instance, node }) => identity !== null || instance !== null || node !== null);
  const bearer = fc.record({ identity: name, instance: name, node: fc.option(name) });
  fc.assert(
    fc.property(fc.array(scope), bearer, (denials, who) => {
      const refusing = denials.filter(
        ({ identity, instance, node, liftedAt }) =>
          liftedAt === null &&
          [who.identity, null].includes(identity) &&
          [who.instance, null].includes(instance) &&
          [who.node, null].includes(node),
      );
      const found = denialOf(denials, who);
      return found === undefined ? refusing.length === 0 : refusing.includes(found);
    }),
  );
  t.pass();
});
