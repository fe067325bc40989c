import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { applyPlan } from '../../src/rotation/apply.ts';
import { Authorities } from '../../src/rotation/authorities.ts';
import { requestStep, startOrResume, startScheduled } from '../../src/rotation/operate.ts';
import { SETTLE_MS } from '../../src/rotation/plan.ts';
import { consumer, createWorld, DAY_MS, NOW } from './world.ts';

const BY_HAND = {
  kind: 'root',
  handsFree: true,
  taint: false,
  crossSign: false,
  holdSeconds: null,
  actor: 'operator:x',
  reason: 'r',
} as const;
const step = (request: 'activate' | 'retire' | 'abort', force = false) =>
  ({ kind: 'root', request, force, actor: 'operator:x', reason: 'r' }) as const;

test('the first start makes a root and an issuing CA, with a CRL of each in the first bundle', async (t) => {
  const world = createWorld();
  t.deepEqual(await world.advance(), ['initialize']);
  t.is(world.states(), 'root active, issuing active');
  t.is(world.store.state.bundles.length, 1);
  t.is(world.store.state.bundles[0]?.crlIds.length, 2);
  t.is(world.store.state.issuances.length, 2);
  t.deepEqual(await world.advance(), []);
});

test('a root of an idle fleet is rotated at once, and its keys are destroyed', async (t) => {
  const world = createWorld();
  await world.advance();
  await startOrResume(world.options, BY_HAND);
  t.deepEqual(await world.advance(), ['prepare', 'publish', 'activate', 'retire']);
  t.is(world.states(), 'root retired, issuing retired, root active, issuing active');
  t.deepEqual(
    world.store.state.authorities.map(({ sealedKey }) => sealedKey === null),
    [true, true, false, false],
  );
  t.is(world.store.state.bundles.at(-1)?.rootIds.length, 1);
  t.deepEqual(await world.store.rotations(), []);
  t.true(
    world.store.state.events
      .filter(({ action }) => action.startsWith('authority.'))
      .slice(6)
      .every(({ actor }) => actor === 'operator:x'),
  );
});

test('nothing is signed by the new root before everyone has acknowledged it, and then at once', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('ready'), consumer('slow', { problem: 'no' })];
  await startOrResume(world.options, BY_HAND);
  t.deepEqual(await world.advance(), ['prepare', 'publish']);
  world.store.fleet = [consumer('ready', { bundleAcknowledged: 2 }), consumer('slow')];
  t.deepEqual(await world.advance(), []);
  t.is(world.states(), 'root active, issuing active, root published, issuing published');
  world.store.fleet = world.store.fleet.map((one) => ({ ...one, bundleAcknowledged: 2 }));
  t.deepEqual(await world.advance(), ['activate', 'retire']);
});

test('what everyone acknowledged is given a moment to be in use, and whoever lags again begins it anew', async (t) => {
  const world = createWorld();
  await world.advance();
  const ready = consumer('x', { bundleAcknowledged: 9 });
  world.store.fleet = [consumer('x')];
  await startOrResume(world.options, BY_HAND);
  await world.advance();
  const look = async () => (await applyPlan(world.options, 'test')).map(({ kind }) => kind);
  world.store.fleet = [ready];
  t.deepEqual(await look(), ['settle']);
  world.store.now += SETTLE_MS - 1;
  t.deepEqual(await look(), []);
  world.store.fleet = [ready, consumer('late')];
  t.deepEqual(await look(), ['settle']);
  world.store.fleet = [ready];
  world.store.now += 1;
  t.deepEqual(await look(), ['settle']);
  world.store.now += SETTLE_MS;
  t.deepEqual(await look(), ['activate', 'settle'], 'the next step has a moment of its own');
  world.store.now += SETTLE_MS;
  await requestStep(world.options, step('abort'));
  t.deepEqual(await look(), ['abort', 'settle']);
});

test('the old root stays while a consumer may present its chain, and while certificates are outstanding', async (t) => {
  const world = createWorld();
  await world.advance();
  const [, issuing] = world.store.state.authorities;
  world.store.fleet = [
    consumer('x', { bundleAcknowledged: 2, bundleSent: 2, authorities: [issuing?.id ?? ''] }),
  ];
  await startOrResume(world.options, BY_HAND);
  t.deepEqual(await world.advance(), ['prepare', 'publish', 'activate']);
  t.is(world.states(), 'root draining, issuing draining, root active, issuing active');
  world.store.fleet = [consumer('x', { bundleAcknowledged: 2, authorities: ['new'] })];
  world.store.outstanding = { count: 1, until: NOW + DAY_MS };
  t.deepEqual(await world.advance(), []);
  world.store.outstanding = { count: 0, until: null };
  t.deepEqual(await world.advance(), ['retire']);
});

test('a leaf that another replica signed meanwhile undoes the retirement, which is tried again', async (t) => {
  const world = createWorld();
  await world.advance();
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  await world.advance();
  await requestStep(world.options, step('activate'));
  await world.advance();
  await requestStep(world.options, step('retire'));
  let asked = 0;
  Object.defineProperty(world.store, 'outstanding', {
    get: () => (asked++ === 0 ? { count: 0, until: null } : { count: 1, until: NOW }),
  });
  await t.throwsAsync(world.advance(), { message: /signed meanwhile/ });
  t.is(world.states(), 'root draining, issuing draining, root active, issuing active');
});

test('step by step each step waits for its command, and refuses to come before its time', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('slow', { names: ['envoy-7'] })];
  await t.throwsAsync(requestStep(world.options, step('activate')), { message: /no root rotation/ });
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  t.deepEqual(await world.advance(), ['prepare', 'publish']);
  await t.throwsAsync(requestStep(world.options, step('retire')), { message: /still signs/ });
  await t.throwsAsync(requestStep(world.options, step('activate')), { message: /envoy-7 has not/ });
  await requestStep(world.options, { ...step('activate', true), actor: 'operator:hasty' });
  t.deepEqual(await world.advance(), ['activate']);
  const forced = world.store.state.events.find(({ action }) => action === 'rotation.force');
  t.deepEqual(forced?.after, { left_behind: 1, named: ['slow'] });
  t.is(forced?.actor, 'operator:hasty', 'who forced it, not who began the rotation');
  t.deepEqual(await world.advance(), []);
  await requestStep(world.options, step('retire'));
  t.deepEqual(await world.advance(), ['retire']);
  t.is(world.store.state.events.at(-1)?.actor, BY_HAND.actor);
});

test('what follows from going back is on record under the one who asked for that', async (t) => {
  const world = createWorld();
  await world.advance();
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  await world.advance();
  await requestStep(world.options, step('activate'));
  await world.advance();
  await requestStep(world.options, { ...step('abort'), actor: 'operator:careful' });
  t.deepEqual(await world.advance(), ['abort', 'retire']);
  t.is(world.store.state.events.at(-1)?.actor, 'operator:careful');
});

test('abort before the activation leaves no trace in the bundles', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('slow')];
  await startOrResume(world.options, BY_HAND);
  await world.advance();
  await requestStep(world.options, step('abort'));
  t.deepEqual(await world.advance(), ['abort']);
  t.is(world.states(), 'root active, issuing active, root retired, issuing retired');
  t.deepEqual(world.store.state.bundles.at(-1)?.rootIds, world.store.state.bundles[0]?.rootIds);
});

test('abort after the activation lets the old root sign again, and the new one drains', async (t) => {
  const world = createWorld();
  await world.advance();
  const old = world.store.state.authorities[1]?.id ?? '';
  world.store.fleet = [consumer('x', { bundleAcknowledged: 9, authorities: [old] })];
  await startOrResume(world.options, BY_HAND);
  await world.advance();
  const fresh = world.store.state.authorities[3]?.id ?? '';
  world.store.fleet = [consumer('x', { bundleAcknowledged: 9, authorities: [fresh] })];
  await requestStep(world.options, step('abort'));
  t.deepEqual(await world.advance(), ['abort']);
  t.is(world.states(), 'root active, issuing active, root draining, issuing draining');
  world.store.fleet = [];
  t.deepEqual(await world.advance(), ['retire']);
  t.is(world.states(), 'root active, issuing active, root retired, issuing retired');
});

test('a tainted root signs until its successor is known, and then nobody who is away is waited for', async (t) => {
  const world = createWorld();
  await world.advance();
  const old = world.store.state.authorities[1]?.id ?? '';
  const away = consumer('away', { streams: 0, bundleAcknowledged: 9, authorities: [old] });
  world.store.fleet = [consumer('here', { authorities: [old] }), away];
  await startOrResume(world.options, { ...BY_HAND, taint: true });
  await world.advance();
  t.is(world.states(), 'root tainted, issuing active, root published, issuing published');
  world.store.fleet = [consumer('here', { bundleAcknowledged: 9, authorities: [old] }), away];
  await world.advance();
  t.is(world.states(), 'root draining, issuing draining, root active, issuing active');
  world.store.fleet = [consumer('here', { bundleAcknowledged: 9, authorities: ['new'] }), away];
  world.store.outstanding = { count: 3, until: NOW + DAY_MS };
  t.deepEqual(await world.advance(), ['retire']);
});

test('after a compromise, one that cannot acknowledge is waited for until the hold is over, and until it was given another', async (t) => {
  const world = createWorld();
  await world.advance();
  const old = world.store.state.authorities[1]?.id ?? '';
  const silent = { acknowledges: false, bundleSent: 9, bundleAcknowledged: null };
  world.store.fleet = [consumer('program', { ...silent, authorities: [old] })];
  await startOrResume(world.options, { ...BY_HAND, taint: true });
  await world.advance();
  t.is(world.states(), 'root draining, issuing draining, root active, issuing active');
  world.store.fleet = [consumer('program', { ...silent, authorities: [old, 'new'] })];
  t.deepEqual(await world.advance(), []);
  world.store.now += 60_000;
  world.store.fleet = [consumer('program', { ...silent, authorities: [old] })];
  t.deepEqual(await world.advance(), []);
  world.store.fleet = [consumer('proxy', { bundleAcknowledged: 9, authorities: [old, 'new'] })];
  t.deepEqual(await world.advance(), []);
  world.store.fleet = [consumer('program', { ...silent, authorities: [old, 'new'] })];
  t.deepEqual(await world.advance(), ['retire']);
});

test('a cross-signed root chains to the old one, and its second certificate is on record', async (t) => {
  const world = createWorld();
  await world.advance();
  await startOrResume(world.options, { ...BY_HAND, crossSign: true });
  await world.advance();
  const [oldRoot, , newRoot] = world.store.state.authorities;
  const cross = new X509Certificate(newRoot?.crossCertificate ?? '');
  t.true(cross.verify(new X509Certificate(oldRoot?.certificate ?? '').publicKey));
  t.is(cross.subject, new X509Certificate(newRoot?.certificate ?? '').subject);
  t.true(cross.validToDate <= (oldRoot?.notAfter ?? 0));
  t.is(
    world.store.state.issuances.filter(({ certificate }) => certificate === newRoot?.crossCertificate).length,
    1,
  );
});

test('the issuing CA is replaced at half of its life, once its CRL is known everywhere', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('x', { holdsUntil: NOW + 90 * DAY_MS })];
  world.store.now = NOW + 4 * DAY_MS;
  t.deepEqual(await world.advance(), ['start', 'prepare', 'publish']);
  world.store.fleet = [consumer('x', { holdsUntil: NOW + 90 * DAY_MS, bundleAcknowledged: 2 })];
  t.deepEqual(await world.advance(), ['activate', 'retire']);
  t.is(world.states(), 'root active, issuing draining, issuing active');
  world.store.now = NOW + 8 * DAY_MS;
  world.store.fleet = [];
  const steps = await world.advance();
  t.true(steps.includes('drop'));
  t.true(world.states().startsWith('root active, issuing retired'));
});

test('an issuing CA about to expire gives way to its successor whoever lags: else nobody had a leaf', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('deaf', { holdsUntil: NOW + 90 * DAY_MS })];
  world.store.now = NOW + 4 * DAY_MS;
  await world.advance();
  world.store.now = NOW + 7.5 * DAY_MS;
  t.true((await world.advance()).includes('activate'));
});

test('a root with a third of its life left is rotated by itself, and one rotation at a time', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.now = NOW + 241 * DAY_MS;
  const steps = await world.advance();
  t.true(steps.includes('retire'));
  t.is(world.store.state.rotations.filter(({ kind }) => kind === 'root').length, 1);
  t.is(
    world.store.state.authorities.filter(({ kind, state }) => kind === 'root' && state === 'active').length,
    1,
  );
  t.true(
    world.store.state.events.some(
      ({ actor, action }) => actor === 'schedule:root' && action === 'rotation.start',
    ),
  );
});

test('a schedule that fires at two replicas begins one rotation', async (t) => {
  const world = createWorld();
  await world.advance();
  const firedAt = new Date(world.store.now);
  t.true(await startScheduled(world.options, 'root', firedAt));
  await world.advance();
  t.false(await startScheduled(world.options, 'root', firedAt));
});

test('a crash before any commit is made good by planning again, with the same end', async (t) => {
  for (let crashAt = 0; crashAt < 6; crashAt++) {
    const world = createWorld();
    await world.advance();
    await startOrResume(world.options, BY_HAND);
    let commits = 0;
    world.store.beforeCommit = () => {
      if (commits++ === crashAt) throw new Error('killed');
    };
    await world.advance().catch(() => undefined);
    world.store.beforeCommit = () => undefined;
    await world.advance();
    t.is(
      world.states().replace(/root retired, issuing retired, (?=root retired)/, ''),
      'root retired, issuing retired, root active, issuing active',
    );
    t.deepEqual(await world.store.rotations(), []);
  }
});

test('an abort with no way back is refused, and changes nothing', async (t) => {
  const world = createWorld();
  await world.advance();
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  await world.advance();
  await requestStep(world.options, step('activate'));
  await world.advance();
  world.store.now = NOW + 8 * DAY_MS;
  await t.throwsAsync(requestStep(world.options, step('abort')), {
    code: 'conflict',
    message: /no way back/,
  });
  t.is((await world.store.rotations()).find(({ kind }) => kind === 'root')?.requested, null);
});

test('a rotation that cannot go on holds no other one up', async (t) => {
  const world = createWorld({ jwtKeyTtlMs: 6 * DAY_MS });
  await world.advance();
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  await world.advance();
  await requestStep(world.options, step('activate'));
  await world.advance();
  await requestStep(world.options, step('abort'));
  world.store.now = NOW + 8 * DAY_MS;
  world.store.tokens = { count: 0, until: null };
  await t.throwsAsync(world.advance(), { message: /no way back/ });
  t.deepEqual(
    world.store.state.jwtKeys.map(({ state }) => state),
    ['retired', 'active'],
  );
  t.true(world.actions().includes('authority.create'));
  t.regex(world.states(), /issuing active$/);
  await requestStep(world.options, step('retire'));
  t.true((await world.advance()).includes('retire'));
});

for (const kind of ['issuing', 'root'] as const)
  test(`a rotation of ${kind} CAs that an operator took step by step and forgot goes on before the old one has ended`, async (t) => {
    const world = createWorld(kind === 'root' ? { rootTtlMs: 8 * DAY_MS } : {});
    await world.advance();
    await startOrResume(world.options, { ...BY_HAND, kind, handsFree: false });
    t.deepEqual(await world.advance(), ['prepare', 'publish']);
    world.store.now = NOW + 6.7 * DAY_MS;
    t.false((await world.advance()).includes('activate'));
    world.store.now = NOW + 6.9 * DAY_MS;
    t.true((await world.advance()).includes('activate'));
  });

test('an old root that nobody retired is retired before the new one has ended, so that another can follow', async (t) => {
  const world = createWorld({ rootTtlMs: 8 * DAY_MS });
  await world.advance();
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  await world.advance();
  await requestStep(world.options, step('activate'));
  await world.advance();
  world.store.now = NOW + 6.7 * DAY_MS;
  t.false((await world.advance()).includes('retire'));
  world.store.now = NOW + 6.9 * DAY_MS;
  t.deepEqual((await world.advance()).slice(0, 3), ['retire', 'start', 'prepare']);
});

test('a tainted issuing CA signs until its successor does, which follows at once', async (t) => {
  const world = createWorld();
  await world.advance();
  const authorities = new Authorities(world.store, world.options.keys, world.options.trustDomain);
  const old = world.store.state.authorities[1]?.id ?? '';
  world.store.fleet = [consumer('slow')];
  await startOrResume(world.options, { ...BY_HAND, kind: 'issuing', taint: true });
  await world.advance();
  t.is(world.states(), 'root active, issuing tainted, issuing published');
  await authorities.refresh();
  t.is(authorities.active().id, old);
  world.store.fleet = [consumer('slow', { bundleAcknowledged: 2 })];
  await world.advance();
  t.is(world.states(), 'root active, issuing draining, issuing active');
  await authorities.refresh();
  t.not(authorities.active().id, old);
});

test('under a tainted root whose successor somebody lags for, the issuing CA is renewed all the same', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('slow')];
  await startOrResume(world.options, { ...BY_HAND, taint: true });
  t.deepEqual(await world.advance(), ['prepare', 'publish']);
  world.store.now = NOW + 6 * DAY_MS;
  t.true((await world.advance()).includes('start'));
});

test('after a compromise nobody is held for, step by step neither', async (t) => {
  const world = createWorld();
  await world.advance();
  const silent = { acknowledges: false, bundleSent: 9, bundleSentAt: NOW, bundleAcknowledged: null };
  world.store.fleet = [consumer('program', silent)];
  await startOrResume(world.options, { ...BY_HAND, handsFree: false, taint: true });
  t.deepEqual(await world.advance(), ['prepare', 'publish']);
  await requestStep(world.options, step('activate'));
  t.deepEqual(await world.advance(), ['activate']);
});

test('what is prepared grows old while somebody lags: it is made anew, and acknowledged anew', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('slow')];
  await startOrResume(world.options, BY_HAND);
  t.deepEqual(await world.advance(), ['prepare', 'publish']);
  const first = world.store.state.bundles.length;
  world.store.now = NOW + 4 * DAY_MS;
  t.deepEqual(await world.advance(), []);
  world.store.now += 1000;
  t.deepEqual(await world.advance(), ['prepare', 'publish']);
  t.is(world.states(), 'root active, issuing active, root published, issuing retired, issuing published');
  world.store.fleet = [consumer('slow', { bundleAcknowledged: first })];
  t.deepEqual(await world.advance(), [], 'the CRL of the new issuing CA is not there yet');
  world.store.fleet = [consumer('slow', { bundleAcknowledged: world.store.state.bundles.length })];
  t.deepEqual(await world.advance(), ['activate', 'retire']);
});

test('a clock that went back to before the issuing CA begins makes another one', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.now = NOW + 4 * DAY_MS;
  await world.advance();
  world.store.now = NOW + DAY_MS;
  t.true((await world.advance()).includes('start'));
  const signing = world.store.state.authorities.filter(
    (one) => one.kind === 'issuing' && one.state === 'active',
  );
  t.deepEqual(
    signing.map(({ notBefore }) => notBefore.getTime() <= world.store.now),
    [true],
  );
});

test('what an operator changes of a rotation under way is on record, and nothing else is', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('slow')];
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  await world.advance();
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  t.false(world.actions().includes('rotation.resume'));
  await startOrResume(world.options, { ...BY_HAND, holdSeconds: 5, actor: 'operator:y' });
  const event = world.store.state.events.at(-1);
  t.is(event?.actor, 'operator:y');
  t.deepEqual(event?.before, { hands_free: false, urgent: false, hold_seconds: 60 });
  t.deepEqual(event?.after, { hands_free: true, urgent: false, hold_seconds: 5 });
  t.is((await world.store.rotations())[0]?.holdSeconds, 5);
  await t.throwsAsync(startOrResume(world.options, { ...BY_HAND, crossSign: true }), { code: 'conflict' });
});

test('a new root ends the rotation of issuing CAs under the old one, and what that had prepared', async (t) => {
  const world = createWorld();
  await world.advance();
  world.store.fleet = [consumer('slow')];
  await startOrResume(world.options, { ...BY_HAND, kind: 'issuing' });
  await startOrResume(world.options, { ...BY_HAND, handsFree: false });
  await world.advance();
  await requestStep(world.options, step('activate', true));
  t.deepEqual(await world.advance(), ['activate']);
  t.deepEqual(
    (await world.store.rotations()).map(({ kind }) => kind),
    ['root'],
  );
  t.is(world.states(), 'root draining, issuing draining, issuing retired, root active, issuing active');
  await requestStep(world.options, step('abort'));
  t.deepEqual(await world.advance(), ['abort', 'retire'], 'back to the issuing CA that has its key yet');
  t.is(world.states(), 'root active, issuing active, issuing retired, root retired, issuing retired');
});

test('a compromise that is found while the old root drains makes the rest urgent, and lets nothing sign again', async (t) => {
  const world = createWorld();
  await world.advance();
  const old = world.store.state.authorities[1]?.id ?? '';
  world.store.fleet = [consumer('x', { bundleAcknowledged: 9, authorities: [old] })];
  await startOrResume(world.options, BY_HAND);
  t.deepEqual(await world.advance(), ['prepare', 'publish', 'activate']);
  await startOrResume(world.options, { ...BY_HAND, taint: true });
  t.is(world.states(), 'root draining, issuing draining, root active, issuing active');
  t.true((await world.store.rotations())[0]?.urgent);
});
