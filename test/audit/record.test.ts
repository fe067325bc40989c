import test from 'ava';
import fc from 'fast-check';
import type { Issuance } from '../../src/audit/issuance.ts';
import { BatchRecorder, RECORDER_LIMITS } from '../../src/audit/record.ts';
import { CarnetError, type ErrorCode, errorCodeOf } from '../../src/errors.ts';

/** A database whose commits succeed and fail as the test says, when the test says. */
class Commits {
  readonly batches: string[][] = [];
  readonly committed: string[] = [];
  #pending: PromiseWithResolvers<void>[] = [];
  #begun = Promise.withResolvers<void>();

  readonly insert = async (batch: readonly Issuance[]): Promise<void> => {
    const settle = Promise.withResolvers<void>();
    this.batches.push(batch.map(({ serial }) => serial));
    this.#pending.push(settle);
    this.#begun.resolve();
    await settle.promise;
    this.committed.push(...batch.map(({ serial }) => serial));
  };

  /** Resolves when the recorder waits for a commit. */
  async begun(): Promise<void> {
    while (this.#pending.length === 0) await this.#begun.promise;
  }

  async succeed(): Promise<void> {
    await this.#next((settle) => settle.resolve());
  }

  async fail(code: ErrorCode): Promise<void> {
    await this.#next((settle) => settle.reject(new CarnetError(code, 'as the test says')));
  }

  async #next(act: (settle: PromiseWithResolvers<void>) => void): Promise<void> {
    await this.begun();
    const settle = this.#pending.shift();
    this.#begun = Promise.withResolvers();
    if (settle) act(settle);
  }
}

function issuance(serial: string): Issuance {
  return {
    serial,
    profile: 'workload',
    identity: 'spiffe://carnet.local/web',
    dnsNames: [],
    notBefore: new Date(0),
    notAfter: new Date(1),
    authority: 'issuing-00000000',
    publicKeySha256: new Uint8Array(32),
    certificateSha256: new Uint8Array(32),
    certificate: new Uint8Array(1),
    node: null,
    instance: null,
    evidence: null,
    entryId: null,
    entryVersion: null,
    requester: 'agent:test',
  };
}

function recorderOf(
  commits: Commits,
  limits: Partial<typeof RECORDER_LIMITS> = {},
  now = () => 0,
): BatchRecorder {
  return new BatchRecorder(commits.insert, { ...RECORDER_LIMITS, ...limits }, now);
}

const codes = async (results: readonly Promise<void>[]): Promise<string[]> =>
  (await Promise.allSettled(results)).map((result) =>
    result.status === 'fulfilled' ? 'recorded' : errorCodeOf(result.reason),
  );

test('an issuance that comes alone is committed at once, alone', async (t) => {
  const commits = new Commits();
  const recorded = recorderOf(commits).record(issuance('a'));
  await commits.succeed();
  await recorded;
  t.deepEqual(commits.batches, [['a']]);
});

test('resolves only after the commit', async (t) => {
  const commits = new Commits();
  let resolved = false;
  const recorded = recorderOf(commits)
    .record(issuance('a'))
    .then(() => {
      resolved = true;
    });
  await commits.begun();
  await new Promise((resolve) => setImmediate(resolve));
  t.false(resolved);
  await commits.succeed();
  await recorded;
  t.true(resolved);
});

test('what comes together shares a commit, and the next batch gathers while one is under way', async (t) => {
  const commits = new Commits();
  const recorder = recorderOf(commits);
  const first = ['a', 'b'].map((serial) => recorder.record(issuance(serial)));
  await commits.begun();
  const second = ['c', 'd', 'e'].map((serial) => recorder.record(issuance(serial)));
  await commits.succeed();
  await commits.succeed();
  t.deepEqual(await codes([...first, ...second]), Array(5).fill('recorded'));
  t.deepEqual(commits.batches, [
    ['a', 'b'],
    ['c', 'd', 'e'],
  ]);
});

test('a batch has no more rows than its limit, in the order of arrival', async (t) => {
  const commits = new Commits();
  const recorder = recorderOf(commits, { maxBatch: 2 });
  const recorded = ['a', 'b', 'c', 'd', 'e'].map((serial) => recorder.record(issuance(serial)));
  for (let i = 0; i < 3; i++) await commits.succeed();
  await Promise.all(recorded);
  t.deepEqual(commits.batches, [['a', 'b'], ['c', 'd'], ['e']]);
});

test('a full queue refuses with overloaded, and takes more once there is room', async (t) => {
  const commits = new Commits();
  const recorder = recorderOf(commits, { maxBatch: 2, maxQueued: 3 });
  const first = recorder.record(issuance('a'));
  await commits.begun();
  const waiting = ['b', 'c', 'd'].map((serial) => recorder.record(issuance(serial)));
  t.is(recorder.queued, 3);
  t.deepEqual(await codes([recorder.record(issuance('e'))]), ['overloaded']);
  await commits.succeed();
  await first;
  await commits.begun();
  const late = recorder.record(issuance('f'));
  await commits.succeed();
  await commits.succeed();
  t.deepEqual(await codes([...waiting, late]), Array(4).fill('recorded'));
  t.deepEqual(commits.committed, ['a', 'b', 'c', 'd', 'f']);
});

test('an unknown outcome is a failure for the whole batch, and nothing is tried again', async (t) => {
  const commits = new Commits();
  const recorder = recorderOf(commits);
  const recorded = ['a', 'b'].map((serial) => recorder.record(issuance(serial)));
  await commits.fail('database_unavailable');
  t.deepEqual(await codes(recorded), ['database_unavailable', 'database_unavailable']);
  t.is(commits.batches.length, 1);
  const next = recorder.record(issuance('c'));
  await commits.succeed();
  t.deepEqual(await codes([next]), ['recorded']);
});

test('one that waited too long for its commit is refused with timeout, before the commit', async (t) => {
  let now = 0;
  const commits = new Commits();
  const recorder = recorderOf(commits, { maxWaitMs: 100 }, () => now);
  const first = recorder.record(issuance('a'));
  await commits.begun();
  const late = recorder.record(issuance('b'));
  now = 60;
  const fresh = recorder.record(issuance('c'));
  now = 101;
  await commits.succeed();
  await commits.succeed();
  t.deepEqual(await codes([first, late, fresh]), ['recorded', 'timeout', 'recorded']);
  t.deepEqual(commits.committed, ['a', 'c']);
});

test('close refuses what comes after, and waits until what is queued is committed', async (t) => {
  const commits = new Commits();
  const recorder = recorderOf(commits);
  const first = recorder.record(issuance('a'));
  await commits.begun();
  const second = recorder.record(issuance('b'));
  const closed = recorder.close();
  t.deepEqual(await codes([recorder.record(issuance('c'))]), ['shutting_down']);
  await commits.succeed();
  await commits.succeed();
  await closed;
  t.deepEqual(await codes([first, second]), ['recorded', 'recorded']);
});

test('rows that the database refuses fail alone, whichever they are', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }), async (good) => {
      const committed = new Set<string>();
      const recorder = new BatchRecorder(
        async (batch) => {
          if (batch.some(({ serial }) => serial.startsWith('bad')))
            throw new CarnetError('invalid_argument', 'as the test says');
          for (const { serial } of batch) committed.add(serial);
        },
        { ...RECORDER_LIMITS, maxBatch: 16 },
        () => 0,
      );
      const serials = good.map((isGood, index) => `${isGood ? 'good' : 'bad'} ${index}`);
      const outcomes = await codes(serials.map((serial) => recorder.record(issuance(serial))));
      t.deepEqual(
        outcomes,
        good.map((isGood) => (isGood ? 'recorded' : 'invalid_argument')),
      );
      t.deepEqual([...committed].toSorted(), serials.filter((_, index) => good[index]).toSorted());
    }),
    { numRuns: 200 },
  );
});

test('a failure while refused rows are being isolated fails all that is left of the batch', async (t) => {
  const commits = new Commits();
  const recorder = recorderOf(commits);
  const recorded = ['a', 'b', 'c', 'd'].map((serial) => recorder.record(issuance(serial)));
  await commits.fail('invalid_argument');
  await commits.succeed();
  await commits.fail('timeout');
  t.deepEqual(await codes(recorded), ['recorded', 'recorded', 'timeout', 'timeout']);
  t.deepEqual(commits.batches, [
    ['a', 'b', 'c', 'd'],
    ['a', 'b'],
    ['c', 'd'],
  ]);
});
