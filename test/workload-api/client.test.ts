import test from 'ava';
import { WorkloadClient } from '../../src/workload-api/client.ts';
import { grant, serve } from './harness.ts';

test('our own client fetches tokens, and tells why it gets none', async (t) => {
  const served = await serve(t, { grants: [grant({ hint: 'external' })] });
  const client = new WorkloadClient(served.socket);
  t.teardown(() => client.close());
  const [svid] = await client.fetchJwt(['reports'], '', 10_000);
  t.like(svid, { svid: 'spiffe://carnet.local/web reports', hint: 'external' });
  await t.throwsAsync(client.fetchJwt([], '', 10_000), { code: 'invalid_argument' });
  await t.throwsAsync(client.fetchJwt(['a'], 'spiffe://carnet.local/x', 10_000), {
    code: 'permission_denied',
  });
  await t.throwsAsync(client.validateJwt('reports', 'a.b.c', 10_000), {
    code: 'invalid_argument',
    message: /not JSON/,
  });
  served.close();
  await t.throwsAsync(client.fetchJwt(['a'], '', 10_000), { code: 'unavailable' });
});
