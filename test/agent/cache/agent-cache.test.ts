import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { AgentCache } from '../../../src/agent/cache/agent-cache.ts';
import type { CachedState } from '../../../src/agent/cache/cached-state.ts';
import { KeptSvids } from '../../../src/agent/cache/kept-svids.ts';
import { createAgentKey } from '../../../src/agent/link/agent-identity.ts';
import { take } from '../../../src/agent/link/held.ts';
import { type KeyEncryptionKey, parseKeyEncryptionKey } from '../../../src/ca/key-encryption-key.ts';
import { CarnetError } from '../../../src/errors.ts';
import { createLogger } from '../../../src/log.ts';
import { svid } from '../../sds/holder.ts';
import { TRUST_DOMAIN } from '../link/link-server.ts';
import { entry } from '../link/links.ts';

const KEY = parseKeyEncryptionKey(randomBytes(32).toString('base64'));
const OTHER_KEY = parseKeyEncryptionKey(randomBytes(32).toString('base64'));

interface Given {
  readonly path: string;
  cache(key?: KeyEncryptionKey, trustDomain?: typeof TRUST_DOMAIN): AgentCache;
}

function given(t: ExecutionContext): Given {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-cache-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'agent-cache');
  const log = createLogger('fatal');
  return {
    path,
    cache: (key = KEY, trustDomain = TRUST_DOMAIN) => new AgentCache({ path, key, trustDomain, log }),
  };
}

function state(): CachedState {
  const { privateKey } = createAgentKey();
  const held = take(
    null,
    {
      entries: { entries: [entry()] },
      bundle: {
        ...{ trustDomain: TRUST_DOMAIN, sequence: 3, x509Sequence: 2 },
        ...{ x509Authorities: [Buffer.from('root')], crls: [], jwtAuthorities: [] },
      },
      denials: { denials: [{ identity: '', instance: 'container:2', node: '' }] },
      superseded: { wave: ['issuing-1'], urgent: [] },
      federated: { bundles: [] },
    },
    TRUST_DOMAIN,
  );
  return {
    link: {
      identity: {
        ...{
          node: 'node-1',
          selectors: ['node:name:node-1' as never],
          privateKey,
          chain: [Buffer.from('leaf')],
        },
        ...{ notBefore: 1000, notAfter: 2000 },
      },
      held,
    },
    svids: [{ instance: 'container:1', svid: svid(), issuedBy: 4 }],
    fleet: [],
  };
}

async function write(cache: AgentCache, kept: CachedState): Promise<void> {
  await cache.keep(() => kept);
  await cache.close();
}

test('what is kept is there when it has been said, for an agent that is killed then', async (t) => {
  const { cache } = given(t);
  const killed = cache();
  await killed.keep(() => state());
  t.is((await cache().read())?.link.identity.node, 'node-1');
  await killed.close();
});

test('what has changed is there when it was flushed, whatever else is being written', async (t) => {
  const { cache } = given(t);
  const killed = cache();
  let kept = state();
  await killed.keep(() => kept);
  killed.changed();
  const before = killed.flush();
  kept = { ...kept, svids: [] };
  await Promise.all([before, killed.flush()]);
  t.deepEqual((await cache().read())?.svids, []);
  await killed.close();
});

test('what is kept is read again, whole', async (t) => {
  const { path, cache } = given(t);
  t.is(await cache().read(), null);
  const kept = state();
  await write(cache(), kept);
  const read = await cache().read();
  t.deepEqual(read?.svids.map(comparable), kept.svids.map(comparable));
  t.true(read?.link.identity.privateKey.equals(kept.link.identity.privateKey));
  t.is(read?.link.identity.node, 'node-1');
  t.is(read?.link.held.bundle.sequence, 3);
  t.true(read?.link.held.wave.has('issuing-1'));
  t.is(read?.link.held.denials[0]?.instance, 'container:2');
  t.is(statSync(path).mode & 0o777, 0o600);
});

test('nothing in the file is readable', async (t) => {
  const { path, cache } = given(t);
  const kept = state();
  await write(cache(), kept);
  const file = readFileSync(path);
  for (const secret of [kept.svids[0]?.svid.privateKey ?? [], ...['node-1', 'carnet.test', '"version"']])
    t.false(file.includes(Buffer.from(secret)));
});

const TAMPERED: [string, (file: Buffer) => Buffer][] = [
  ['one bit in the middle', (file) => flip(file, file.length >> 1)],
  ['one bit of the tag', (file) => flip(file, file.length - 1)],
  ['its end cut off', (file) => file.subarray(0, -1)],
  ['a byte more', (file) => Buffer.concat([file, Buffer.of(0)])],
  ['nothing in it', () => Buffer.alloc(0)],
  ['something else in it', () => Buffer.from('{}')],
];

for (const [what, tamper] of TAMPERED)
  test(`a cache with ${what} is set aside, and the agent starts without`, async (t) => {
    const { path, cache } = given(t);
    await write(cache(), state());
    writeFileSync(path, tamper(readFileSync(path)));
    t.is(await cache().read(), null);
    t.true(existsSync(`${path}.damaged`));
    t.false(existsSync(path));
  });

test("another trust domain's cache is set aside", async (t) => {
  const { path, cache } = given(t);
  await write(cache(), state());
  t.is(await cache(KEY, 'other.test' as typeof TRUST_DOMAIN).read(), null);
  t.true(existsSync(`${path}.damaged`));
});

test('a cache that is sealed under another key is refused, and stays as it is', async (t) => {
  const { path, cache } = given(t);
  await write(cache(), state());
  const file = readFileSync(path);
  await t.throwsAsync(cache(OTHER_KEY).read(), { instanceOf: CarnetError, code: 'key_unseal_failed' });
  t.deepEqual(readFileSync(path), file);
  t.not(await cache().read(), null);
});

test('a write that fails leaves the cache before it', async (t) => {
  const { path, cache } = given(t);
  await write(cache(), state());
  const failing = cache();
  await failing.keep(() => {
    throw new Error('cannot');
  });
  await failing.close();
  t.is((await cache().read())?.link.identity.node, 'node-1');
  t.true(existsSync(path));
});

test('a leaf is given to its own instance for its own entry, once, and only while it is valid', (t) => {
  const own = svid({ notAfter: new Date(2000) });
  let now = 1000;
  const kept = () => new KeptSvids([{ instance: 'container:1', svid: own, issuedBy: 4 }], () => now);
  const grant = { entryId: own.entryId, spiffeId: own.identity } as never;
  t.is(kept().take('container:2', grant), undefined);
  t.is(kept().take('container:1', { entryId: 'other', spiffeId: own.identity } as never), undefined);
  const once = kept();
  t.is(once.waiting().length, 1);
  t.is(once.take('container:1', grant)?.svid, own);
  t.is(once.take('container:1', grant), undefined);
  t.is(once.waiting().length, 0);
  const ended = kept();
  ended.forget('container:2');
  t.is(ended.waiting().length, 1);
  ended.forget('container:1');
  t.is(ended.take('container:1', grant), undefined);
  now = 2000;
  t.is(kept().take('container:1', grant), undefined);
  t.is(kept().waiting().length, 0);
});

/** Bytes are the same in a Buffer and in a Uint8Array. */
function comparable({ svid, ...rest }: CachedState['svids'][number]): object {
  const chain = svid.chain.map((der) => Buffer.from(der));
  return { ...rest, ...svid, chain, privateKey: Buffer.from(svid.privateKey) };
}

function flip(file: Buffer, at: number): Buffer {
  const copy = Buffer.from(file);
  copy.writeUInt8((copy[at] ?? 0) ^ 1, at);
  return copy;
}
