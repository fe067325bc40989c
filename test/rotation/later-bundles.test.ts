import test from 'ava';
import { LaterBundles } from '../../src/rotation/later-bundles.ts';
import { createWorld, NOW } from './world.ts';

async function restored() {
  const world = createWorld();
  await world.advance();
  const published: number[] = [];
  const { store } = world;
  const bundles = new LaterBundles({
    store,
    clock: () => store.now,
    onPublished: (sequence) => published.push(sequence),
  });
  return { store, bundles, published };
}

test('a bundle that is later than what the database knows is published above, once for all who hold it', async (t) => {
  const { store, bundles, published } = await restored();
  await Promise.all(['a', 'b', 'c'].map((node) => bundles.heard(node, 9, 1)));
  t.deepEqual(published, [2]);
  t.is(store.state.bundles.length, 2);
  t.deepEqual(store.state.bundles[1]?.rootIds, store.state.bundles[0]?.rootIds);
  t.like(store.state.events.at(-1), { actor: 'server:link', action: 'bundle.republish', subject: '2' });
});

for (const [what, sequence, known] of [
  ['the one that this server has', 1, 1],
  ['none', 0, 1],
  ['one that this server has not read yet', 1, 0],
  ['one from the far future', NOW / 1000 + 3601, 1],
] as const)
  test(`nothing is published for an agent that holds ${what}`, async (t) => {
    const { store, bundles } = await restored();
    await bundles.heard('a', sequence, known);
    t.is(store.state.bundles.length, 1);
  });

test('an agent that says so again and again is heard once a minute', async (t) => {
  const { store, bundles, published } = await restored();
  for (let second = 0; second < 61; second++) {
    store.now = NOW + second * 1000;
    await bundles.heard('a', 1000, 1);
  }
  t.is(published.length, 2);
});

test('where it could not be published the next agent is heard', async (t) => {
  const { store, bundles, published } = await restored();
  store.beforeCommit = () => {
    throw new Error('away');
  };
  await t.throwsAsync(bundles.heard('a', 9, 1), { message: 'away' });
  store.beforeCommit = () => undefined;
  await bundles.heard('b', 9, 1);
  t.is(published.length, 1);
});
