import test, { type ExecutionContext } from 'ava';
import { encodeUlong, type Handle, template } from '../../src/ca/pkcs11-module.ts';
import { CKA, type Pkcs11Session, readAttribute } from '../../src/ca/pkcs11-session.ts';
import { Pkcs11Token } from '../../src/ca/pkcs11-token.ts';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { oncePerPort } from '../support/mesh.ts';
import { startPair } from '../support/pair.ts';
import { type Replicas, startReplicas } from '../support/replicas.ts';
import { createSoftToken, type SoftToken } from '../support/softhsm.ts';
import { ask } from '../support/stops.ts';

const LABEL = 'carnet';
/** pkcs11t.h, CKO_PRIVATE_KEY. */
const PRIVATE_KEY = 3;
/** By the token's own word, of a key that was never outside of it in clear, and never will be. */
const UNEXPORTABLE = { sensitive: 1, alwaysSensitive: 1, extractable: 0, neverExtractable: 1 } as const;
const MAX_KEYS = 16;

test.serial(
  'CA keys are in the token through rotations of issuing CA and root under Envoys, and no handshake fails',
  async (t) => {
    t.timeout(400_000);
    const token = createSoftToken(LABEL);
    const { modulePath, pinFile } = token.options;
    await using replicas = await startReplicas(1, [
      ...['--key-store', 'pkcs11', '--pkcs11-module', modulePath, '--pkcs11-token', LABEL],
      ...['--pkcs11-pin-file', pinFile, '--leaf-ttl', '1h', '--log-level', 'warn'],
    ]);
    const pair = await startPair({
      agentSocket: replicas.servers[0]?.agentSocket ?? '',
      apiType: 'DELTA_GRPC',
      trustDomain: 'carnet.local',
      register: (entry) => replicas.call(0, 'POST', '/v1/entries', entry),
    });
    const load = startLoad(pair.port, 30);
    try {
      const first = await assertInToken(t, token, replicas);
      t.is(first.length, 2);
      t.is((await replicas.cli(0, 'root', 'rotate', '--issuing', '--reason', 'test')).code, 0);
      // The old issuing CA signs the CRL of what it issued, as long as it lasts.
      const second = await assertInToken(t, token, replicas);
      t.is(second.length, 3);
      t.is((await replicas.cli(0, 'root', 'rotate', '--reason', 'test')).code, 0);
      const third = await assertInToken(t, token, replicas);
      t.is(third.length, 2);
      t.deepEqual(
        third.filter((id) => second.includes(id)),
        [],
      );
      await oncePerPort(load, [pair.port]);
      await assertNoneFailed(t, load);
    } finally {
      await load.stop();
      await pair.stop();
    }
  },
);

/**
 * That the token has the keys of all authorities that are not retired, and no other, none of which can be had out of
 * it, and that the database has none at all. Resolves to the roots and issuing CAs.
 */
async function assertInToken(
  t: ExecutionContext,
  token: SoftToken,
  { database }: Replicas,
): Promise<string[]> {
  const alive = await ask<{ id: string; kind: string }>(
    database.url,
    `SELECT id, kind FROM authority WHERE state <> 'retired'`,
  );
  const ids = alive.map(({ id }) => id);
  t.deepEqual(
    await ask(
      database.url,
      `SELECT FROM authority WHERE sealed_key IS NOT NULL
       UNION ALL SELECT FROM upstream_request WHERE sealed_key IS NOT NULL`,
    ),
    [],
  );
  const reader = new Pkcs11Token({ ...token.options, onChange: () => undefined });
  try {
    const keys = await reader.use(privateKeys);
    const labels: string[] = [];
    for (const key of keys) {
      labels.push(
        Buffer.from(await reader.use((session) => readAttribute(session, key, CKA.label))).toString(),
      );
      for (const name of ['sensitive', 'alwaysSensitive', 'extractable', 'neverExtractable'] as const) {
        const value = await reader.use((session) => readAttribute(session, key, CKA[name]));
        t.is(value[0], UNEXPORTABLE[name], name);
      }
      const refused = reader.use((session) => readAttribute(session, key, CKA.value));
      t.regex((await t.throwsAsync(refused)).message, /CKR_ATTRIBUTE_SENSITIVE/);
    }
    t.deepEqual(labels.toSorted(), ids.toSorted());
  } finally {
    await reader.close();
  }
  return alive.filter(({ kind }) => kind === 'root' || kind === 'issuing').map(({ id }) => id);
}

/** All that the token has. */
async function privateKeys({ call, handle }: Pkcs11Session): Promise<Handle[]> {
  const wanted = template([{ type: CKA.class, value: encodeUlong(PRIVATE_KEY) }]);
  const keys: Handle[] = [];
  await call('C_FindObjectsInit', handle, wanted, wanted.length);
  try {
    while (keys.length < MAX_KEYS) {
      const object: [Handle | null] = [null];
      const count: [number] = [0];
      await call('C_FindObjects', handle, object, 1, count);
      if (count[0] === 0 || object[0] === null) break;
      keys.push(object[0]);
    }
  } finally {
    await call('C_FindObjectsFinal', handle);
  }
  return keys;
}
