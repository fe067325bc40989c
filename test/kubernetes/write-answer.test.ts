import test from 'ava';
import { ApiError } from '../../src/kubernetes/client.ts';
import { csrOf } from '../../src/kubernetes/csr.ts';
import { writeAnswer } from '../../src/kubernetes/write-answer.ts';

/** One request at an API server, that somebody else changes before each of the first `changes` of our writes. */
function cluster(changes: number, change: (status: object) => object = (status) => status) {
  let version = 1;
  let stored = { metadata: { name: 'c', uid: 'u', resourceVersion: '1' }, spec: { request: '' }, status: {} };
  return {
    status: () => stored.status,
    client: {
      get: async () => structuredClone(stored),
      replace: async (_path: string, object: object) => {
        if (changes-- > 0)
          stored = {
            ...stored,
            status: change(stored.status),
            metadata: { ...stored.metadata, resourceVersion: String(++version) },
          };
        const given = object as typeof stored;
        if (given.metadata.resourceVersion !== stored.metadata.resourceVersion)
          throw new ApiError(409, 'the object has been modified');
        stored = given;
      },
    },
  };
}

const ANSWER = {
  path: '/csr/c',
  subresource: 'status',
  uid: 'u',
  view: csrOf,
  change: (status: object) => ({ ...status, certificate: 'ours' }),
} as const;

test('who changes a request while it is answered does not leave it without an answer', async (t) => {
  const busy = cluster(2, (status) => ({ ...status, theirs: true }));
  await writeAnswer(busy.client, ANSWER);
  t.deepEqual(busy.status() as object, { theirs: true, certificate: 'ours' });
});

test('what another has answered stays as it is', async (t) => {
  const answered = cluster(1, (status) => ({ ...status, certificate: 'theirs' }));
  await t.throwsAsync(writeAnswer(answered.client, ANSWER), { code: 'conflict' });
  t.deepEqual(answered.status() as object, { certificate: 'theirs' });
});

test('a request that was made anew by its name is another one', async (t) => {
  const other = cluster(0);
  await t.throwsAsync(writeAnswer(other.client, { ...ANSWER, uid: 'before' }), { code: 'conflict' });
  t.deepEqual(other.status(), {});
});

test('one that never stands still is tried again later', async (t) => {
  await t.throwsAsync(writeAnswer(cluster(100).client, ANSWER), { code: 'unavailable' });
});
