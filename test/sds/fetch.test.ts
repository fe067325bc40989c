import test from 'ava';
import { fetchResources } from '../../src/sds/fetch.ts';
import { svid, TestHolder } from './holder.ts';

const never = { waitMs: 60_000, signal: new AbortController().signal, onFound: () => undefined };

test('returns all that is named, each once', async (t) => {
  const found = await fetchResources(new TestHolder(), ['default', 'ROOTCA', 'default'], never);
  t.deepEqual(
    found.map(({ name }) => name),
    ['default', 'ROOTCA'],
  );
});

test('refuses a name that is somebody else’s in the words for one that is nobody’s', async (t) => {
  const messages = [];
  for (const name of ['spiffe://carnet.local/api', 'spiffe://carnet.local/nobody']) {
    const error = await t.throwsAsync(fetchResources(new TestHolder(), ['default', name], never), {
      code: 'permission_denied',
    });
    messages.push(error.message.replace(name, 'NAME'));
  }
  t.is(messages[0], messages[1]);
});

for (const [what, names] of [
  ['no name', []],
  ['101 names', Array.from({ length: 101 }, (_, i) => String(i))],
] as const)
  test(`refuses ${what}`, async (t) => {
    await t.throwsAsync(fetchResources(new TestHolder(), names, never), { code: 'invalid_argument' });
  });

test('tells what is handed out, and nothing where not all is', async (t) => {
  const told: string[] = [];
  const onFound = (resources: readonly { name: string }[]): void => {
    told.push(...resources.map(({ name }) => name));
  };
  await fetchResources(new TestHolder(), ['default', 'ROOTCA'], { ...never, onFound });
  await t.throwsAsync(fetchResources(new TestHolder(), ['default', 'nobody'], { ...never, onFound }));
  t.deepEqual(told, ['default', 'ROOTCA']);
});

test('waits for the first issuance', async (t) => {
  const holder = new TestHolder({ svids: [], complete: false });
  const fetching = fetchResources(holder, ['default'], never);
  holder.set({ problem: 'the database is away' });
  const issued = svid();
  holder.set({ svids: [issued], complete: true, problem: null });
  t.deepEqual(
    (await fetching).map(({ version }) => version),
    [issued.serial],
  );
  t.is(holder.listeners, 0);
});

test('waits no longer than it may, and says what is the matter', async (t) => {
  const holder = new TestHolder({ svids: [], complete: false, problem: 'the database is away' });
  const error = await t.throwsAsync(fetchResources(holder, ['default'], { ...never, waitMs: 1 }), {
    code: 'unavailable',
  });
  t.regex(error.message, /the database is away/);
  t.is(holder.listeners, 0);
});

test('refuses as soon as nothing more is to come', async (t) => {
  const holder = new TestHolder({ svids: [], complete: false });
  const fetching = fetchResources(holder, ['default'], never);
  holder.set({ complete: true });
  await t.throwsAsync(fetching, { code: 'permission_denied' });
});

test('stops waiting when the caller goes', async (t) => {
  const caller = new AbortController();
  const holder = new TestHolder({ svids: [], complete: false });
  const fetching = fetchResources(holder, ['default'], { ...never, signal: caller.signal });
  caller.abort();
  await t.throwsAsync(fetching, { code: 'unavailable' });
  t.is(holder.listeners, 0);
});
