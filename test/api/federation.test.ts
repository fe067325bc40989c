import test from 'ava';
import { federationRoutes } from '../../src/api/federation.ts';
import type { Caller } from '../../src/api/route.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { createDomain } from '../federation/domain.ts';
import { MemoryFederations } from './memory-federations.ts';

interface Page {
  readonly items: readonly { readonly bundle: unknown; readonly problem: string }[];
}

const ANN: Caller = {
  actor: 'operator:ann',
  role: 'auditor',
  scopes: null,
  tokenId: null,
  sessionId: null,
  expiresAt: null,
};

test('a stored bundle that cannot be read is told of, and the list is there all the same', async (t) => {
  const control = new MemoryFederations(parseTrustDomain('own.test'));
  const trustDomain = parseTrustDomain('b.test');
  const found = await control.create(
    { trustDomain, endpoint: null, bundle: (await createDomain('b.test')).document({ sequence: 1 }) },
    ANN.actor,
  );
  control.federations.set(trustDomain, {
    ...found,
    bundle: found.bundle && { ...found.bundle, document: '{}' },
  });
  const [list] = federationRoutes(control, () => 0);
  const answer = await list?.answer({
    params: {},
    query: {},
    body: undefined,
    caller: ANN,
    headers: {},
    reply: { append: () => undefined },
  });
  const [item] = (answer?.body as Page | undefined)?.items ?? [];
  t.is(item?.bundle, null);
  t.regex(item?.problem ?? '', /cannot be read/);
});
