import test, { type ExecutionContext } from 'ava';
import { CarnetError } from '../../src/errors.ts';
import { ApiError, type KubernetesClient } from '../../src/kubernetes/client.ts';
import { Requests } from '../../src/kubernetes/requests.ts';
import { until } from '../support/until.ts';

type Outcome = 'answered' | 'later' | Error;

/** One open request, answered as told; resolves with what was done by the time that nothing more was left to do. */
async function answersOf(
  t: ExecutionContext,
  outcomes: Outcome[],
  now: () => number = () => 0,
): Promise<string[]> {
  const done: string[] = [];
  const item = { metadata: { name: 'one', uid: 'u', resourceVersion: '1' } };
  const client = {
    get: async () => ({ items: [item], metadata: { resourceVersion: '1' } }),
    lines: async function* (_path: string, _query: object, signal: AbortSignal): AsyncGenerator<string> {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  } as unknown as KubernetesClient;
  const requests = new Requests({
    client,
    path: '/requests',
    query: {},
    view: () => ({ uid: 'u' }),
    answer: async (_request, waited) => {
      const outcome = waited ? new CarnetError('permission_denied', 'waited') : outcomes.shift();
      if (outcome === undefined) throw new Error('asked too often');
      if (outcome instanceof Error) throw outcome;
      done.push(outcome);
      return outcome;
    },
    refuse: async (_request, error) => void done.push(`refused: ${error.message}`),
    onFailed: (error) => done.push(`failed: ${(error as Error).message}`),
    random: () => 0,
    now,
  });
  t.teardown(() => requests.close());
  await until('it is answered', () => done.some((what) => what === 'answered' || what.startsWith('refused')));
  return done;
}

test('what may pass leaves a request open, and it is answered later', async (t) => {
  const away = new CarnetError('database_unavailable', 'away');
  const forbidden = new ApiError(403, 'not yet ours');
  t.deepEqual(await answersOf(t, [away, forbidden, 'answered']), [
    'failed: away',
    'failed: Kubernetes: not yet ours',
    'answered',
  ]);
});

test('what is wrong with a request refuses it, once', async (t) => {
  t.deepEqual(await answersOf(t, [new CarnetError('csr_malformed', 'bad')]), ['refused: bad']);
});

test('a bug refuses nobody', async (t) => {
  t.deepEqual(await answersOf(t, [new TypeError('bug'), 'answered']), ['failed: bug', 'answered']);
});

test('who has no entry yet is looked at again, and refused after 10 s', async (t) => {
  let now = 0;
  const answers = await answersOf(t, ['later', 'later'], () => {
    now += 4_000;
    return now;
  });
  t.is(answers.at(-1), 'refused: waited');
  t.is(answers[0], 'later');
});
