import test from 'ava';
import { lacksClaims, type PersonRules, personOf } from '../../src/sign-in/person.ts';

const RULES: PersonRules = {
  issuer: 'https://id.example',
  nameClaim: 'email',
  roleClaim: 'groups',
  mappings: [
    { role: 'admin', value: 'platform' },
    { role: 'auditor', value: 'compliance' },
    { role: 'auditor', value: 'legal' },
  ],
};

test('roles follow from the values of the claim, each once', (t) => {
  const rolesOf = (groups: unknown) => personOf({ sub: '1', groups }, RULES).roles;
  t.deepEqual(rolesOf(['compliance', 'platform', 'legal']), ['admin', 'auditor']);
  t.deepEqual(rolesOf('legal'), ['auditor']);
  for (const nothing of [
    undefined,
    null,
    [],
    ['Platform'],
    'platform,legal',
    { platform: true },
    [['platform']],
  ])
    t.deepEqual(rolesOf(nothing), [], JSON.stringify(nothing));
});

test('roles may be within a claim', (t) => {
  const rules = { ...RULES, roleClaim: '/realm_access/roles' };
  t.deepEqual(personOf({ sub: '1', realm_access: { roles: ['platform'] } }, rules).roles, ['admin']);
});

test('a person keeps the tag, whatever the name; another of the same name has another', (t) => {
  const actorOf = (sub: string, email: string, issuer = RULES.issuer) =>
    personOf({ sub, email }, { ...RULES, issuer }).actor;
  const [name, tag] = actorOf('1', 'ann@example.com').split('~');
  t.is(name, 'operator:ann@example.com');
  t.is(actorOf('1', 'ann@married.example').split('~')[1], tag);
  t.not(actorOf('2', 'ann@example.com').split('~')[1], tag);
  t.not(actorOf('1', 'ann@example.com', 'https://other.example').split('~')[1], tag);
});

for (const [title, claims, name] of [
  ['an address that was not verified', { email: 'boss@example.com', email_verified: false }, 'sub-1'],
  ['no address', {}, 'sub-1'],
  ['an address of nothing', { email: '' }, 'sub-1'],
  ['control characters and spaces', { email: 'a\n\u202eb c~d' }, 'a__b_c_d'],
  ['no end', { email: 'x'.repeat(500) }, 'x'.repeat(64)],
] as const)
  test(`a name of ${title} is ${name.slice(0, 10)}`, (t) => {
    const { actor } = personOf({ sub: 'sub-1', ...claims }, RULES);
    t.is(actor.slice(0, actor.lastIndexOf('~')), `operator:${name}`);
  });

test('what the claims lack is told', (t) => {
  t.true(lacksClaims({ sub: '1', email: 'a@b' }, RULES));
  t.true(lacksClaims({ sub: '1', groups: [] }, RULES));
  t.false(lacksClaims({ sub: '1', email: 'a@b', groups: [] }, RULES));
});
