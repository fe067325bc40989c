import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { LatestDelivery } from '../../src/cli/deliver-latest.ts';
import { writeIdentity } from '../../src/cli/write-identity.ts';
import { until } from '../support/until.ts';

type Identity = Parameters<typeof writeIdentity>[1];

const identity = (name: string): Identity =>
  ({ svidPem: `${name} certificate`, keyPem: `${name} key`, bundlePem: `${name} bundle` }) as Identity;

test('what cannot be written is tried again until it can, and only the latest is', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'carnet-deliver-'));
  t.teardown(() => rmSync(parent, { recursive: true, force: true }));
  const directory = join(parent, 'identity');
  // In its way.
  writeFileSync(directory, '');
  const announced: string[] = [];
  let failures = 0;
  const delivery = new LatestDelivery<Identity>({
    store: (value) => writeIdentity(directory, value, Date.now()),
    announce: async ({ svidPem }) => void announced.push(svidPem),
    onFailed: () => void failures++,
    signal: new AbortController().signal,
    random: () => 0,
  });
  delivery.push(identity('first'));
  await until('it has failed twice', () => failures >= 2);
  delivery.push(identity('second'));
  delivery.push(identity('third'));
  rmSync(directory);
  await delivery.settled();
  t.deepEqual(announced, ['third certificate']);
  t.is(readFileSync(join(directory, 'svid.key'), 'utf8'), 'third key');
  delivery.push(identity('fourth'));
  await delivery.settled();
  t.deepEqual(announced, ['third certificate', 'fourth certificate']);
  t.is(readFileSync(join(directory, 'svid.key'), 'utf8'), 'fourth key');
});

test('a write that is interrupted is given up', async (t) => {
  const interrupted = new AbortController();
  let tries = 0;
  const delivery = new LatestDelivery<string>({
    store: async () => {
      tries++;
      throw new Error('no');
    },
    announce: async () => t.fail(),
    onFailed: () => interrupted.abort(),
    signal: interrupted.signal,
    random: () => 0,
  });
  delivery.push('x');
  await delivery.settled();
  t.is(tries, 1);
});

test('a generation that could not be written whole is removed', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-deliver-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  await writeIdentity(directory, identity('good'), 1);
  const bad = { ...identity('bad'), bundlePem: Symbol('none') as unknown as string };
  await t.throwsAsync(writeIdentity(directory, bad, 2));
  t.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith('.generation')),
    ['.generation-1'],
  );
  t.true(existsSync(join(directory, 'svid.pem')));
});
