import test, { type ExecutionContext } from 'ava';
import { ApiError, type KubernetesClient, type Query } from '../../src/kubernetes/client.ts';
import { ResourceWatch } from '../../src/kubernetes/resource-watch.ts';
import { until } from '../support/until.ts';

interface Item {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
}

function item(name: string, version = '1'): Item {
  return { metadata: { name, resourceVersion: version } };
}

function event(type: string, object: object): string {
  return JSON.stringify({ type, object });
}

/** An API server with a script: pages for each list in turn, and events for each watch. */
class Script {
  readonly lists: Item[][][] = [];
  readonly watches: string[][] = [];
  readonly asked: Query[] = [];
  #page = 0;

  readonly get = async (_path: string, query: Query = {}): Promise<unknown> => {
    this.asked.push(query);
    const [pages = []] = this.lists;
    const items = pages[this.#page] ?? [];
    const isLast = this.#page + 1 >= pages.length;
    this.#page = isLast ? 0 : this.#page + 1;
    if (isLast) this.lists.shift();
    return { items, metadata: { resourceVersion: '10', ...(!isLast && { continue: 'more' }) } };
  };

  readonly lines = async function* (
    this: Script,
    _path: string,
    query: Query,
    signal: AbortSignal,
  ): AsyncGenerator<string> {
    this.asked.push(query);
    const events = this.watches.shift();
    if (events === undefined)
      return await new Promise((resolve) => signal.addEventListener('abort', resolve));
    yield* events;
  };
}

function watchOn(
  t: ExecutionContext,
  script: Script,
  maxObjects = 10,
  onFailed: (error: unknown, failures: number) => void = () => undefined,
): ResourceWatch<Item> {
  const client = script as Pick<Script, 'get' | 'lines'> as unknown as KubernetesClient;
  const watch = new ResourceWatch<Item>({
    client,
    path: '/items',
    view: (object) => object as Item,
    maxObjects,
    onChange: () => undefined,
    onFailed,
    random: () => 0,
  });
  t.teardown(() => watch.close());
  return watch;
}

const names = (watch: ResourceWatch<Item>): string => [...watch.objects.keys()].join(' ');

test('lists in pages, then follows events, and resumes where the last bookmark was', async (t) => {
  const script = new Script();
  script.lists.push([[item('a')], [item('b')]]);
  script.watches.push([
    event('ADDED', item('c', '11')),
    event('DELETED', item('a', '12')),
    event('BOOKMARK', item('', '99')),
  ]);
  const watch = watchOn(t, script);
  await until('the second watch', () => script.asked.length === 4);
  t.is(names(watch), 'b c');
  t.deepEqual(
    script.asked.map(({ resourceVersion, continue: token }) => resourceVersion ?? token ?? null),
    [null, 'more', '10', '99'],
  );
});

test('lists anew when its version is gone, and forgets what went meanwhile (410)', async (t) => {
  const script = new Script();
  script.lists.push([[item('a'), item('b')]], [[item('b'), item('c')]]);
  script.watches.push([event('ERROR', { code: 410, message: 'too old' })]);
  const watch = watchOn(t, script);
  await until('the second list', () => names(watch) === 'b c');
  t.true(watch.listed);
});

test('tries again after a failure, from where it was', async (t) => {
  const script = new Script();
  script.lists.push([[item('a')]]);
  script.watches.push([event('ADDED', item('b', '11')), event('ERROR', { code: 500, message: 'down' })]);
  const watch = watchOn(t, script);
  await until('the second watch', () => script.asked.length === 3);
  t.is(names(watch), 'a b');
  t.is(script.asked[2]?.resourceVersion, '11');
});

test('keeps no more than its limit, and says so', async (t) => {
  const script = new Script();
  script.lists.push([[item('a'), item('b'), item('c')]]);
  const watch = watchOn(t, script, 2);
  await until('the list', () => watch.listed);
  t.is(names(watch), 'a b');
  t.true(watch.truncated);
});

test('an answer of the API server keeps its status and its words', (t) => {
  const error = new ApiError(403, 'no');
  t.deepEqual([error.code, error.status, error.message], ['permission_denied', 403, 'Kubernetes: no']);
});

test('a watch that ends at once without a word is a failure, and waited after', async (t) => {
  const script = new Script();
  script.lists.push([[item('a')]]);
  script.watches.push([], []);
  const failed: number[] = [];
  const watch = watchOn(t, script, 10, (_, failures) => failed.push(failures));
  await until('the third watch', () => script.asked.length === 4);
  t.deepEqual(failed, [1, 2]);
  t.is(names(watch), 'a');
});

test('what the view does not show is no change', async (t) => {
  const script = new Script();
  script.lists.push([[item('a')]]);
  script.watches.push([event('MODIFIED', item('a', '11')), event('ADDED', item('b', '12'))]);
  const changed: (string | null)[] = [];
  const client = script as Pick<Script, 'get' | 'lines'> as unknown as KubernetesClient;
  const watch = new ResourceWatch<string>({
    client,
    path: '/items',
    view: (object) => (object as Item).metadata.name,
    maxObjects: 10,
    onChange: (key) => changed.push(key),
    onFailed: () => undefined,
    random: () => 0,
  });
  t.teardown(() => watch.close());
  await until('the second watch', () => script.asked.length === 3);
  t.deepEqual(changed, [null, 'b']);
});
