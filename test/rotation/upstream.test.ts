import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { openAuthority } from '../../src/ca/open-authority.ts';
import { readSituation } from '../../src/rotation/apply.ts';
import { startOrResume } from '../../src/rotation/operate.ts';
import { pictureOf } from '../../src/rotation/picture.ts';
import { type ImportRequest, importUpstream, requestUpstream } from '../../src/rotation/upstream.ts';
import { parseCsr } from '../../src/x509/csr.ts';
import { type OutsideCa, outsideRoot } from '../ca/outside-ca.ts';
import { consumer, createWorld } from './world.ts';

const BY = { handsFree: true, holdSeconds: null, actor: 'operator:x', reason: 'offline root' } as const;

/** A world that has begun with roots of its own, at the present time: outside CAs sign now. */
async function begun() {
  const world = createWorld();
  world.store.now = Date.now();
  await world.advance();
  return world;
}

type World = Awaited<ReturnType<typeof begun>>;

/** Has our request signed by `by`, and imports what it answers. */
async function importFrom(
  world: World,
  by: OutsideCa,
  above: readonly OutsideCa[] = [],
  changes: Partial<ImportRequest> = {},
) {
  const { spki } = await parseCsr(await requestUpstream(world.options, 'operator:x'));
  const chain = [await by.certify(spki), by.certificate, ...above.map(({ certificate }) => certificate)];
  await importUpstream(world.options, { ...BY, chain, ...changes });
}

test('a request is the same until its answer is imported, and then another', async (t) => {
  const world = await begun();
  const first = await requestUpstream(world.options, 'operator:x');
  t.deepEqual(await requestUpstream(world.options, 'operator:x'), first);
  await importFrom(world, await outsideRoot('spiffe://carnet.local'));
  t.notDeepEqual(await requestUpstream(world.options, 'operator:x'), first);
});

test('the fleet moves to an outside root as to any other, gated, and our old key is destroyed', async (t) => {
  const world = await begun();
  world.store.fleet = [consumer('slow')];
  await importFrom(world, await outsideRoot('spiffe://carnet.local'));
  t.deepEqual(await world.advance(), ['publish']);
  t.is(world.states(), 'root active, issuing active, root published, issuing published');
  world.store.fleet = [consumer('slow', { bundleAcknowledged: 2 })];
  t.deepEqual(await world.advance(), ['activate', 'retire']);
  t.is(world.states(), 'root retired, issuing retired, root active, issuing active');
  t.like(world.store.state.authorities[2], { sealedKey: null, keyReference: null });
  t.deepEqual(
    world.store.state.events.filter(({ action }) => action === 'authority.import').map(({ actor }) => actor),
    ['operator:x', 'operator:x'],
  );
});

test('leaves carry the intermediates, and verify up to the outside root', async (t) => {
  const world = await begun();
  const root = await outsideRoot('spiffe://carnet.local');
  const policy = await root.subordinate('Policy CA');
  await importFrom(world, policy, [root]);
  const issuing = world.store.state.authorities.at(-1);
  if (issuing === undefined) return t.fail();
  const { chain } = openAuthority(issuing, world.options.keys);
  const certificates = [...chain, root.certificate].map((der) => new X509Certificate(der));
  t.is(certificates.length, 3);
  for (const [i, certificate] of certificates.entries())
    t.true(certificate.verify((certificates[i + 1] ?? certificate).publicKey));
});

test('an issuing CA under an outside root is renewed by another import, and its rotation waits for that', async (t) => {
  const world = await begun();
  const root = await outsideRoot('spiffe://carnet.local');
  await importFrom(world, root);
  await world.advance();
  await startOrResume(world.options, { ...BY, kind: 'issuing', taint: false, crossSign: false });
  t.deepEqual(await world.advance(), []);
  t.is((await pictures(world))[0]?.phase, 'waiting for an import');
  await importFrom(world, root);
  t.deepEqual(await world.advance(), ['publish', 'activate', 'retire']);
  t.is(world.states(), 'root retired, issuing retired, root active, issuing draining, issuing active');
});

test('a rotation of an outside root waits for the import of the next one', async (t) => {
  const world = await begun();
  await importFrom(world, await outsideRoot('spiffe://carnet.local'));
  await world.advance();
  await startOrResume(world.options, { ...BY, kind: 'root', taint: false, crossSign: false });
  t.deepEqual(await world.advance(), []);
  t.is((await pictures(world))[0]?.phase, 'waiting for an import');
  await importFrom(world, await outsideRoot('spiffe://carnet.local'));
  t.deepEqual(await world.advance(), ['publish', 'activate', 'retire']);
  t.true(world.states().endsWith('root retired, issuing retired, root active, issuing active'));
});

test('an outside root that was given up before the activation can be imported again', async (t) => {
  const world = await begun();
  const root = await outsideRoot('spiffe://carnet.local');
  await importFrom(world, root, [], { handsFree: false });
  await world.advance();
  const [rotation] = await world.store.rotations();
  await world.store.transact((tx) => tx.updateRotation(rotation?.id ?? 0, { requested: 'abort' }));
  t.deepEqual(await world.advance(), ['abort']);
  await importFrom(world, root);
  t.deepEqual(await world.advance(), ['publish', 'activate', 'retire']);
  t.is(world.states(), 'root retired, issuing retired, root active, issuing retired, issuing active');
});

test('refuses an answer without a request, of another chain, or beside another rotation; nothing changes', async (t) => {
  const world = await begun();
  const root = await outsideRoot('spiffe://carnet.local');
  t.like(await t.throwsAsync(importUpstream(world.options, { ...BY, chain: [root.certificate] })), {
    code: 'not_found',
  });
  await requestUpstream(world.options, 'operator:x');
  const before = structuredClone(world.store.state);
  t.like(
    await t.throwsAsync(
      importUpstream(world.options, { ...BY, chain: [root.certificate, root.certificate] }),
    ),
    { code: 'invalid_argument' },
  );
  t.deepEqual(world.store.state, before);
  await startOrResume(world.options, {
    ...BY,
    handsFree: false,
    kind: 'root',
    taint: false,
    crossSign: false,
  });
  await world.advance();
  t.like(await t.throwsAsync(importFrom(world, root)), { code: 'conflict' });
});

function pictures({ store }: World) {
  return store.transact(async (tx) => pictureOf(store.now, await readSituation(tx)));
}
