import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { identityInFiles } from '../../src/federation/endpoint-files.ts';
import type { EndpointIdentity } from '../../src/federation/serve-bundle.ts';
import { createDomain } from './domain.ts';

const DOMAIN = await createDomain('b.test');
const [first, second] = [await DOMAIN.leaf('spiffe://b.test/1'), await DOMAIN.leaf('spiffe://b.test/2')];

test('a renewed certificate is shown within 10 s, once both of its files are there', async (t) => {
  const { files, write } = await directory(t);
  await write(first);
  let now = 0;
  const identity = identityInFiles(...files, () => now);
  t.is(identity().chain, first.chain);
  await writeFile(files[0], second.chain);
  now += 10_000;
  t.is(identity().chain, first.chain, 'its key is not there yet');
  await writeFile(files[1], second.privateKey);
  t.is(identity().chain, first.chain, 'it was looked at just now');
  now += 10_000;
  t.like(identity(), { chain: second.chain, privateKey: second.privateKey });
  t.is(identity(), identity(), 'the same object while it is the same');
});

test('files that go away leave the last certificate', async (t) => {
  const { files, write } = await directory(t);
  await write(first);
  let now = 0;
  const identity = identityInFiles(...files, () => now);
  await rm(files[0]);
  now += 10_000;
  t.is(identity().chain, first.chain);
});

test('what cannot be used at the start is refused', async (t) => {
  const { files, write } = await directory(t);
  t.throws(() => identityInFiles(...files, () => 0), { code: 'config_invalid' });
  await write({ chain: first.chain, privateKey: second.privateKey });
  const error = t.throws(() => identityInFiles(...files, () => 0), { code: 'config_invalid' });
  t.notRegex(error?.message ?? '', /PRIVATE KEY/);
});

async function directory(t: ExecutionContext) {
  const path = await mkdtemp(join(tmpdir(), 'carnet-endpoint-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  const files = [join(path, 'cert.pem'), join(path, 'key.pem')] as const;
  const write = async ({ chain, privateKey }: EndpointIdentity): Promise<void> => {
    await writeFile(files[0], chain);
    await writeFile(files[1], privateKey);
  };
  return { files, write };
}
