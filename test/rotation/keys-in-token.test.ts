import test from 'ava';
import { pkcs11KeyStore } from '../../src/ca/pkcs11-key-store.ts';
import { CKA, findKey, readAttribute } from '../../src/ca/pkcs11-session.ts';
import { Pkcs11Token } from '../../src/ca/pkcs11-token.ts';
import { parseKeyUri } from '../../src/ca/pkcs11-uri.ts';
import { applyPlan } from '../../src/rotation/apply.ts';
import { startOrResume } from '../../src/rotation/operate.ts';
import { createSoftToken } from '../support/softhsm.ts';
import { createWorld } from './world.ts';

test('through a whole rotation every key is in the token only, and the old ones are gone from it', async (t) => {
  t.timeout(300_000);
  const token = createSoftToken('rotation');
  const options = { ...token.options, onChange: () => undefined };
  const keys = pkcs11KeyStore(options);
  const world = createWorld();
  const apply = { ...world.options, keys };
  await applyPlan(apply, 'server:start');
  const old = world.store.state.authorities.map(({ keyReference }) => keyReference);
  await startOrResume(apply, {
    kind: 'root',
    handsFree: true,
    taint: false,
    crossSign: true,
    holdSeconds: null,
    actor: 'operator:x',
    reason: 'r',
  });
  const steps = await applyPlan(apply, 'server:start');
  t.deepEqual(
    steps.map(({ kind }) => kind),
    ['prepare', 'publish', 'activate', 'retire'],
  );
  t.is(world.states(), 'root retired, issuing retired, root active, issuing active');
  t.true(world.store.state.authorities.every(({ sealedKey }) => sealedKey === null));
  await keys.close();

  const inToken = new Pkcs11Token(options);
  const fresh = world.store.state.authorities.slice(2).map(({ keyReference }) => keyReference);
  await inToken.use(async (session) => {
    for (const uri of old) {
      const { id, object } = parseKeyUri(uri ?? '');
      t.deepEqual(await findKey(session, id, object), []);
    }
    for (const uri of fresh) {
      const { id, object } = parseKeyUri(uri ?? '');
      const [privateKey = 0] = await findKey(session, id, object);
      t.is((await readAttribute(session, privateKey, CKA.neverExtractable))[0], 1);
    }
  });
  await inToken.close();
});
