import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { PostgresFederationStore } from '../../src/db/federations.ts';
import { MAX_DOCUMENT_BYTES } from '../../src/federation/accept-bundle.ts';
import type { Federation } from '../../src/federation/federation.ts';
import { Federations } from '../../src/federation/federations.ts';
import { Refresher, type RefreshFailure } from '../../src/federation/refresher.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { openDatabase } from '../db/fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { createDomain, type Domain } from './domain.ts';

const OWN = await createDomain('own.test');
const FOREIGN = await createDomain('foreign.test');
const created = await createDatabase();
const database = openDatabase(created.url);
const store = new PostgresFederationStore(database);
let count = 0;
test.after.always(async () => {
  await database.close();
  await created.drop();
});

test('what an endpoint publishes anew is trusted after the next look, and the rest stays the same object', async (t) => {
  const { domain, serve, refresher, trusted } = await federated(t);
  const before = await trusted();
  serve(domain.document({ sequence: 2 }));
  await refresher.refresh(domain.bundle.trustDomain, 'operator:ann');
  const after = await trusted();
  t.true((after?.sequence ?? 0) > (before?.sequence ?? 0));
  await refresher.refresh(domain.bundle.trustDomain, 'operator:ann');
  t.is(await trusted(), after);
});

for (const [what, answer, code] of [
  ['is too large', () => ' '.repeat(MAX_DOCUMENT_BYTES + 1), 'too_large'],
  ['is no bundle', () => '<html></html>', 'invalid_argument'],
  ["is another trust domain's", () => FOREIGN.document({ sequence: 9 }), 'invalid_argument'],
  ['is our own', () => OWN.document({ sequence: 9 }), 'invalid_argument'],
  ['has a lower sequence', (domain: Domain) => domain.document({ sequence: 0 }), 'conflict'],
] as const)
  test(`what an endpoint publishes changes nothing when it ${what}, and the failure is told`, async (t) => {
    const { domain, serve, refresher, trusted, failures, federation } = await federated(t);
    const before = await trusted();
    serve(answer(domain));
    await t.throwsAsync(refresher.refresh(domain.bundle.trustDomain, 'operator:ann'), { code });
    t.is(await trusted(), before);
    t.like(await federation(), { failures: 1 });
    t.is(failures.length, 1);
    serve(domain.document({ sequence: 3 }));
    t.like(await refresher.refresh(domain.bundle.trustDomain, 'operator:ann'), {
      failures: 0,
      problem: null,
    });
  });

test('a bundle that this version cannot read holds nobody else up, and leaves what was trusted before', async (t) => {
  const { domain, trusted, unreadable } = await federated(t);
  const { trustDomain } = domain.bundle;
  const before = await trusted();
  await database.query("UPDATE federation SET document = '{}', revision = 1000000 WHERE trust_domain = $1", [
    trustDomain,
  ]);
  t.is(await trusted(), before);
  t.is(await trusted(), before);
  t.deepEqual(unreadable, [trustDomain]);
  const restarted = new Federations(store);
  await restarted.refresh();
  t.false(restarted.bundles().has(trustDomain));
  t.true(restarted.list().some((one) => one.trustDomain === trustDomain));
});

test.serial('all that are due are asked, and one that fails holds up no other', async (t) => {
  const all = await Promise.all(Array.from({ length: 6 }, () => federated(t, false)));
  const down = all[2];
  down?.serve(null);
  const [first] = all;
  await first?.refresher.refreshDue();
  const failed = (await store.list()).filter(({ failures }) => failures > 0);
  t.deepEqual(
    failed.map(({ trustDomain }) => trustDomain),
    [down?.domain.bundle.trustDomain],
  );
  t.is(await store.claimDue(60), null);
});

/** A trust domain with its endpoint, which is known to us, and refreshed once. */
async function federated(t: ExecutionContext, refreshed = true) {
  const name = `b${++count}.test`;
  const domain = await createDomain(name);
  const { trustDomain } = domain.bundle;
  const spiffeId = parseSpiffeId(`spiffe://${name}/carnet/server`);
  const { chain, privateKey } = await domain.leaf(spiffeId);
  let document: string | null = domain.document({ sequence: 1 });
  const server = createServer({ cert: chain, key: privateKey }, (_, response) =>
    document === null ? response.destroy() : response.end(document),
  );
  const url = await listen(t, server);
  const failures: RefreshFailure[] = [];
  const refresher = new Refresher({
    store,
    own: () => OWN.bundle,
    random: () => 0.5,
    onRefreshed: () => undefined,
    onFailed: (failure) => failures.push(failure),
    stopping: new AbortController().signal,
  });
  await store.create(
    {
      trustDomain,
      endpoint: { profile: 'https_spiffe', url, spiffeId },
      bundle: { sequence: 1n, refreshHintSeconds: null, document, sha256: '00'.repeat(32) },
    },
    'operator:ann',
  );
  if (refreshed) await refresher.refresh(trustDomain, 'operator:ann');
  const unreadable: string[] = [];
  const federations = new Federations(store, (domain) => unreadable.push(domain));
  return {
    unreadable,
    domain,
    refresher,
    failures,
    serve: (text: string | null) => {
      document = text;
    },
    federation: async (): Promise<Federation | undefined> =>
      (await store.list()).find((one) => one.trustDomain === trustDomain),
    trusted: async () => {
      await federations.refresh();
      return federations.bundles().get(trustDomain);
    },
  };
}

async function listen(t: ExecutionContext, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
