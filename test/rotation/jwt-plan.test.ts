import test from 'ava';
import { requestStep, startOrResume, startScheduled } from '../../src/rotation/operate.ts';
import { createWorld, DAY_MS, NOW } from './world.ts';

const HOLD_MS = 600_000;
const START = {
  kind: 'jwt',
  handsFree: true,
  taint: false,
  crossSign: false,
  holdSeconds: null,
  actor: 'operator:x',
  reason: 'r',
} as const;
const step = (request: 'activate' | 'retire' | 'abort', force = false) =>
  ({ kind: 'jwt', request, force, actor: 'operator:x', reason: 'r' }) as const;

async function begun(schedule: Parameters<typeof createWorld>[0] = {}) {
  const world = createWorld({ issuingTtlMs: 100 * DAY_MS, ...schedule });
  await world.advance();
  const { state } = world.store;
  return {
    ...world,
    states: () => world.store.state.jwtKeys.map((key) => key.state).join(', '),
    /** How many keys of JWT-SVIDs the last bundle has. */
    published: () => world.store.state.bundles.at(-1)?.jwtIds.length,
    first: state.jwtKeys[0]?.id ?? '',
    jwtActions: () =>
      world.store.state.events
        .filter(({ subject }) => subject.startsWith('jwt-'))
        .map(({ action }) => action),
  };
}

test('the first start makes a key for JWT-SVIDs, which is in the first bundle and signs', async (t) => {
  const world = await begun();
  t.is(world.states(), 'active');
  t.is(world.store.state.bundles.length, 1);
  t.is(world.published(), 1);
  t.deepEqual(world.jwtActions(), ['authority.create', 'authority.activate']);
});

test('a database from before there were JWT-SVIDs gets a key with the next plan', async (t) => {
  const world = await begun();
  world.store.state.jwtKeys = [];
  t.deepEqual(await world.advance(), ['initialize-jwt']);
  t.is(world.states(), 'active');
  t.is(world.published(), 1);
});

test('a key is replaced at half of its life: published, held, signing, and the old one gone with its last token', async (t) => {
  const world = await begun({ jwtKeyTtlMs: 8 * DAY_MS });
  world.store.now = NOW + 4 * DAY_MS - 1;
  t.deepEqual(await world.advance(), []);
  world.store.now += 1;
  t.deepEqual(await world.advance(), ['start', 'prepare', 'publish']);
  t.is(world.states(), 'active, published');
  t.is(world.published(), 2);
  world.store.now += HOLD_MS - 1;
  t.deepEqual(await world.advance(), []);
  world.store.now += 1;
  world.store.tokens = { count: 1, until: world.store.now + 300_000 };
  t.deepEqual(await world.advance(), ['activate']);
  t.is(world.states(), 'draining, active');
  t.is(world.published(), 2);
  t.deepEqual(await world.advance(), []);
  world.store.tokens = { count: 0, until: null };
  t.deepEqual(await world.advance(), ['retire']);
  t.is(world.states(), 'retired, active');
  t.is(world.published(), 1);
  t.is(world.store.state.jwtKeys[0]?.sealedKey, null);
  t.deepEqual(await world.store.rotations(), []);
});

test('a key that is not replaced by itself is, with a third of its life left', async (t) => {
  const world = await begun({ jwtKeyTtlMs: 6 * DAY_MS, jwtShare: null });
  world.store.now = NOW + 4 * DAY_MS - 1;
  t.deepEqual(await world.advance(), []);
  world.store.now += 1;
  t.deepEqual(await world.advance(), ['start', 'prepare', 'publish']);
});

test('after a key has ended its successor signs at once: nobody has a token that it could break', async (t) => {
  const world = await begun({ jwtKeyTtlMs: DAY_MS });
  world.store.now = NOW + DAY_MS;
  t.deepEqual(await world.advance(), ['start', 'prepare', 'publish', 'activate', 'retire']);
  t.is(world.states(), 'retired, active');
});

test('an operator rotates it, and what is recorded is his', async (t) => {
  const world = await begun();
  await startOrResume(world.options, { ...START, holdSeconds: 0 });
  t.deepEqual(await world.advance(), ['prepare', 'publish', 'activate', 'retire']);
  const { events } = world.store.state;
  t.true(events.slice(-5).every(({ actor, reason }) => actor === 'operator:x' && reason !== ''));
  t.deepEqual(world.jwtActions().slice(2), [
    'rotation.start',
    'authority.create',
    'authority.publish',
    'authority.drain',
    'authority.activate',
    'authority.retire',
  ]);
});

test('a compromised key is replaced without a hold, and its tokens are waited for by nobody', async (t) => {
  const world = await begun();
  world.store.tokens = { count: 5, until: NOW + 300_000 };
  await startOrResume(world.options, { ...START, taint: true });
  t.is(world.states(), 'tainted');
  t.deepEqual(await world.advance(), ['prepare', 'publish', 'activate', 'retire']);
  t.is(world.states(), 'retired, active');
  t.is(world.published(), 1);
  t.true(world.jwtActions().includes('authority.drain'));
});

test('step by step it goes as far as it is asked to, and no step comes too soon', async (t) => {
  const world = await begun();
  await startOrResume(world.options, { ...START, handsFree: false });
  t.deepEqual(await world.advance(), ['prepare', 'publish']);
  await t.throwsAsync(requestStep(world.options, step('activate')), { message: /may not have heard/ });
  await t.throwsAsync(requestStep(world.options, step('retire')), { message: /still signs/ });
  world.store.now += HOLD_MS;
  await requestStep(world.options, step('activate'));
  t.deepEqual(await world.advance(), ['activate']);
  await t.throwsAsync(requestStep(world.options, step('abort')), { message: /signs already/ });
  await requestStep(world.options, step('retire'));
  t.deepEqual(await world.advance(), ['retire']);
  t.is(world.states(), 'retired, active');
});

test('step by step and then forgotten, it goes on by itself before the key that signs has ended', async (t) => {
  const world = await begun({ jwtKeyTtlMs: 6 * DAY_MS });
  await startOrResume(world.options, { ...START, handsFree: false });
  t.deepEqual(await world.advance(), ['prepare', 'publish']);
  world.store.now = NOW + 4 * DAY_MS - 1;
  t.deepEqual(await world.advance(), []);
  world.store.now += 1;
  world.store.tokens = { count: 1, until: world.store.now + 300_000 };
  t.deepEqual(await world.advance(), ['activate']);
});

test('activated and then forgotten, the old key is retired before the new one has ended, so that another can follow', async (t) => {
  const world = await begun({ jwtKeyTtlMs: 6 * DAY_MS });
  await startOrResume(world.options, { ...START, handsFree: false });
  await world.advance();
  await requestStep(world.options, step('activate', true));
  t.deepEqual(await world.advance(), ['activate']);
  world.store.now = NOW + 4 * DAY_MS - 1;
  t.deepEqual(await world.advance(), []);
  world.store.now += 1;
  t.deepEqual(await world.advance(), ['retire', 'start', 'prepare', 'publish']);
});

test('forced, it activates before its time and retires with tokens under way', async (t) => {
  const world = await begun();
  world.store.tokens = { count: 1, until: NOW + 300_000 };
  await startOrResume(world.options, { ...START, handsFree: false });
  await world.advance();
  await requestStep(world.options, step('activate', true));
  t.deepEqual(await world.advance(), ['activate']);
  await requestStep(world.options, step('retire', true));
  t.deepEqual(await world.advance(), ['retire']);
});

test('aborted before it signs, the new key is gone and the old one goes on', async (t) => {
  const world = await begun();
  await startOrResume(world.options, START);
  await world.advance();
  await requestStep(world.options, step('abort'));
  t.deepEqual(await world.advance(), ['abort']);
  t.is(world.states(), 'active, retired');
  t.is(world.published(), 1);
});

test('retiring is rolled back when a token was signed meanwhile', async (t) => {
  const world = await begun();
  await startOrResume(world.options, { ...START, holdSeconds: 0 });
  world.store.tokens = { count: 1, until: NOW + 300_000 };
  t.deepEqual(await world.advance(), ['prepare', 'publish', 'activate']);
  const answers = [0, 1];
  Object.defineProperty(world.store, 'tokens', {
    get: () => ({ count: answers.shift() ?? 0, until: null }),
    configurable: true,
  });
  await t.throwsAsync(world.advance(), { message: /signed meanwhile/ });
  t.is(world.states(), 'draining, active');
  t.deepEqual(await world.advance(), ['retire']);
});

test('it goes on beside a rotation of a root, and neither holds the other up', async (t) => {
  const world = await begun();
  await startOrResume(world.options, { ...START, holdSeconds: 0 });
  await startOrResume(world.options, { ...START, kind: 'root' });
  t.deepEqual((await world.advance()).sort(), [
    'activate',
    'activate',
    'prepare',
    'prepare',
    'publish',
    'publish',
    'retire',
    'retire',
  ]);
});

test('its own cron expression begins one, and only while none is under way', async (t) => {
  const world = await begun();
  t.true(await startScheduled(world.options, 'jwt', new Date(NOW + 5_000)));
  t.false(await startScheduled(world.options, 'jwt', new Date(NOW + 6_000)));
});

for (const at of [1, 2, 3, 4, 5])
  test(`killed before the commit of its step ${at}, it goes on from there to the same end`, async (t) => {
    const world = await begun();
    await startOrResume(world.options, { ...START, holdSeconds: 0 });
    let commits = 0;
    world.store.beforeCommit = () => {
      if (++commits === at) throw new Error('killed');
    };
    await t.throwsAsync(world.advance(), { message: 'killed' });
    await world.advance();
    t.is(world.states(), 'retired, active');
    t.is(world.published(), 1);
    t.deepEqual(await world.store.rotations(), []);
  });
