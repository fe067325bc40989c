import test from 'ava';
import { createJoinToken } from '../../../src/agent/join-token-text.ts';
import { joinTokenAttestor } from '../../../src/agent/link/join-token.ts';
import { CarnetError, type ErrorCode } from '../../../src/errors.ts';
import { until } from '../../support/until.ts';
import { LinkServer } from './link-server.ts';
import { entry, request, startLink } from './links.ts';

test('a join token is all that a node needs: it names the root by which the server is known', async (t) => {
  await using server = await LinkServer.start();
  server.tell({ entries: { entries: [entry()] } });
  const { link } = startLink(t, [server]);
  await link.informed();
  t.is(link.identity().node, 'node-1');
  t.deepEqual(link.identity().selectors as unknown, ['node:name:node-1']);
  t.is(server.claims[0]?.method, 'join_token');
  t.is(server.hellos[0]?.runId.length, 16);
  t.deepEqual(
    link
      .held()
      .index.authorize(['unix:uid:1000' as never])
      .map(({ spiffeId }) => spiffeId as string),
    ['spiffe://carnet.test/web'],
  );
});

test('a server of another root than the token names is sent nothing, and the start goes on trying', async (t) => {
  await using server = await LinkServer.start();
  await using impostor = await LinkServer.start();
  const { text } = createJoinToken(server.bundle.x509Authorities);
  const attestor = joinTokenAttestor(async () => text, 'a file');
  const { link } = startLink(t, [impostor, server], { attestor });
  await link.informed();
  t.deepEqual([impostor.claims.length, server.claims.length], [0, 1]);
});

test('with a trust bundle given, a server of another root is sent nothing', async (t) => {
  await using server = await LinkServer.start();
  await using impostor = await LinkServer.start();
  const readTrustBundle = async () => server.bundle.x509Authorities;
  const { link } = startLink(t, [impostor, server], { readTrustBundle });
  await link.informed();
  t.deepEqual([impostor.claims.length, server.claims.length], [0, 1]);
});

for (const code of ['join_token_used', 'join_token_expired', 'attestation_failed', 'agent_banned'] as const)
  test(`a refused attestation (${code}) ends the start of an agent that has nothing, with the server's words`, async (t) => {
    await using server = await LinkServer.start();
    server.refusals.attest = new CarnetError(code, 'the words of the server');
    const { link } = startLink(t, [server]);
    const error = await t.throwsAsync(link.informed(), {
      instanceOf: CarnetError,
      code: 'attestation_failed',
    });
    t.regex(error?.message ?? '', /the words of the server/);
  });

test('where nothing was decided the attestation is tried again', async (t) => {
  await using server = await LinkServer.start();
  server.refusals.attest = new CarnetError('database_unavailable', 'not now');
  const { link, log } = startLink(t, [server]);
  await until('it was refused twice', () => log().includes('"failures":2'));
  server.refusals.attest = undefined;
  await link.informed();
  t.is(link.identity().node, 'node-1');
});

test('what the server tells is taken part by part, and a bundle with a lower sequence is left', async (t) => {
  await using server = await LinkServer.start();
  const { link, connected } = startLink(t, [server]);
  await connected();
  const { bundle, index } = link.held();
  server.tell({ superseded: { wave: ['a'], urgent: ['b'] } });
  await until('it is told', () => link.held().wave.has('a') && link.held().urgent.has('b'));
  t.is(link.held().bundle, bundle);
  t.is(link.held().index, index);
  server.tell({ bundle: server.wireBundle({ sequence: 7 }) });
  await until('there is another bundle', () => link.held().bundle.sequence === 7);
  server.tell({ bundle: server.wireBundle({ sequence: 6 }), denials: { denials: [] } });
  server.tell({ superseded: { wave: [], urgent: [] } });
  await until('it is told', () => link.held().wave.size === 0);
  t.is(link.held().bundle.sequence, 7);
});

for (const [what, response] of [
  ['no entries', { entries: undefined }],
  ['no bundle', { bundle: undefined }],
] as const)
  test(`a first message with ${what} is no server's of ours, and nothing is held`, async (t) => {
    await using server = await LinkServer.start();
    server.state = { ...server.state, ...response };
    const { link } = startLink(t, [server]);
    await t.throwsAsync(link.informed(), { instanceOf: CarnetError, code: 'invalid_argument' });
    t.throws(() => link.held(), { instanceOf: CarnetError, code: 'unavailable' });
  });

test('what is wanted in one turn of the event loop goes in one call, in its order, each with its own answer', async (t) => {
  await using server = await LinkServer.start();
  const { link, connected } = startLink(t, [server]);
  await connected();
  server.refusals.issue = ({ spiffeId }) =>
    spiffeId.endsWith('/2') ? new CarnetError('permission_denied', 'not on this node') : undefined;
  const results = await Promise.allSettled([1, 2, 3].map((i) => link.issue(request(`/${i}`))));
  t.deepEqual(
    results.map((one) =>
      one.status === 'fulfilled' ? one.value.identity : (one.reason as CarnetError).code,
    ) as string[],
    ['spiffe://carnet.test/1', 'permission_denied', 'spiffe://carnet.test/3'],
  );
  t.deepEqual(
    server.batches.map((batch) => batch.length),
    [3],
  );
  t.deepEqual(JSON.parse(server.batches[0]?.[0]?.evidence ?? ''), { uid: 1000 });
});

test('a call carries at most 256, and at most four are under way', async (t) => {
  await using server = await LinkServer.start();
  const { link, connected } = startLink(t, [server]);
  await connected();
  server.refusals.issue = () => new CarnetError('overloaded', 'not now');
  await Promise.allSettled(Array.from({ length: 1300 }, (_, i) => link.issue(request(`/${i}`))));
  t.deepEqual(
    server.batches.map((batch) => batch.length),
    [256, 256, 256, 256, 256, 20],
  );
});

test('an agent that lost its servers keeps what it was told, asks for nothing, and comes back by itself', async (t) => {
  await using server = await LinkServer.start();
  server.tell({ entries: { entries: [entry()] } });
  const { link, connected, events } = startLink(t, [server], { random: Math.random });
  await connected();
  const held = link.held();
  await server.stop();
  await until('it noticed', () => !link.status().connected);
  t.is(link.held(), held);
  await t.throwsAsync(link.issue(request('/web')), { instanceOf: CarnetError, code: 'unavailable' });
  t.throws(() => link.checkConnected(), { instanceOf: CarnetError, code: 'unavailable' });
  await server.start();
  await connected();
  t.notThrows(() => link.checkConnected());
  t.is((await link.issue(request('/web'))).identity as string, 'spiffe://carnet.test/web');
  t.is(server.claims.length, 1);
  t.is(events.filter((event) => event === 'connected').length, 2);
});

test('of several servers another takes over', async (t) => {
  await using first = await LinkServer.start();
  const second = new LinkServer(first.authorities);
  await using _ = second;
  await second.start();
  const { link, connected } = startLink(t, [first, second]);
  await connected();
  await first.stop();
  await until('it noticed', () => second.hellos.length === 1);
  await connected();
  t.is((await link.issue(request('/web'))).identity as string, 'spiffe://carnet.test/web');
  t.deepEqual(first.hellos[0]?.runId, second.hellos[0]?.runId);
});

test("the agent's own certificate is renewed before half of its life is over, and the session goes on with the new one", async (t) => {
  await using server = await LinkServer.start();
  server.agentTtlSeconds = 4;
  const { link, connected } = startLink(t, [server]);
  await connected();
  const first = link.identity();
  await until('it has another', () => server.serials.length >= 3);
  t.not(link.identity(), first);
  t.is(new Set(server.serials).size, server.serials.length);
  t.true(server.renewals >= 2);
  t.is(server.claims.length, 1);
  t.is((await link.issue(request('/web'))).identity as string, 'spiffe://carnet.test/web');
});

test('no server sees a renewed certificate before it is kept: else a killed agent would come back as a copy', async (t) => {
  await using server = await LinkServer.start();
  server.agentTtlSeconds = 4;
  const kept = Promise.withResolvers<void>();
  let asked = 0;
  const { link, connected } = startLink(t, [server], {
    settle: () => (asked++ === 0 ? Promise.resolve() : kept.promise),
  });
  await connected();
  const [first] = server.serials;
  await until('another certificate is to be kept', () => asked === 2);
  t.true(link.status().connected, 'the session goes on meanwhile');
  t.deepEqual([...new Set(server.serials)], [first]);
  kept.resolve();
  await until('it is shown', () => new Set(server.serials).size > 1);
});

test("the agent's own certificate is renewed once its issuer is superseded, long before its end, and once", async (t) => {
  await using server = await LinkServer.start();
  const { connected } = startLink(t, [server]);
  await connected();
  server.tell({ superseded: { wave: ['issuing-1'], urgent: [] } });
  await until('it shows another', () => new Set(server.serials).size === 2);
  server.tell({ superseded: { wave: ['issuing-1'], urgent: ['issuing-2'] } });
  await until('and again another', () => new Set(server.serials).size === 3);
  t.is(server.renewals, 2);
  t.is(server.claims.length, 1);
});

for (const code of ['unauthenticated', 'agent_unknown', 'agent_copied'] as const satisfies ErrorCode[])
  test(`a session that is refused (${code}) makes the node be attested anew, where its method can`, async (t) => {
    await using server = await LinkServer.start();
    const claim = { payload: Buffer.from('a'), rootSha256: [], answer: null, onAnswered: () => undefined };
    const { connected } = startLink(t, [server], {
      attestor: { method: 'oidc', claim: async () => claim },
      readTrustBundle: async () => server.bundle.x509Authorities,
    });
    await connected();
    server.drop(code);
    await until('it is attested again', () => server.claims.length === 2 && server.sessions === 1);
    t.is(new Set(server.serials).size, 2);
  });

test('a join token that is spent is not shown again: the log says to give another, which is then taken', async (t) => {
  await using server = await LinkServer.start();
  let text = createJoinToken(server.bundle.x509Authorities).text;
  const attestor = joinTokenAttestor(async () => text, '/etc/carnet/join-token');
  const { connected, log } = startLink(t, [server], { attestor });
  await connected();
  const refusal = new CarnetError('agent_unknown', 'who are you?');
  server.refusals.session = refusal;
  server.drop('agent_unknown');
  await until('it says so', () => log().includes('put another into /etc/carnet/join-token'));
  t.is(server.claims.length, 1);
  text = createJoinToken(server.bundle.x509Authorities).text;
  await until('it shows the other', () => server.claims.length === 2);
  server.refusals.session = undefined;
  await connected();
  t.is(Buffer.from(server.claims[1]?.payload ?? []).toString(), text);
});

test('what a server made otherwise than it was asked is not handed on', async (t) => {
  await using server = await LinkServer.start();
  await using stranger = await LinkServer.start();
  const { link, connected } = startLink(t, [server]);
  await connected();
  const other = request('/other');
  const forged: [string, LinkServer, (csr: Uint8Array) => [Uint8Array, string]][] = [
    ['another identity', server, (csr) => [csr, '/other']],
    ['another key', server, () => [other.csr, '/web']],
    ['another root', stranger, (csr) => [csr, '/web']],
  ];
  for (const [what, signer, asked] of forged) {
    server.refusals.forge = async (outcome, { csr }) => {
      const [key, path] = asked(csr);
      const chain = await signer.certificate(key, `spiffe://carnet.test${path}`);
      if (outcome.outcome?.$case === 'issued') outcome.outcome.value.chain = [...chain];
      return outcome;
    };
    await t.throwsAsync(
      link.issue(request('/web')),
      { instanceOf: CarnetError, code: 'certificate_lint_failed' },
      what,
    );
  }
  server.refusals.forge = (outcome) => {
    if (outcome.outcome?.$case === 'issued') outcome.outcome.value.chain.splice(1);
    return outcome;
  };
  await t.throwsAsync(link.issue(request('/web')), { code: 'certificate_lint_failed' }, 'no issuer');
  server.refusals.forge = undefined;
  await t.throwsAsync(
    link.issue(request('/web', 2)),
    { code: 'unavailable' },
    'an older version of the entry',
  );
});
