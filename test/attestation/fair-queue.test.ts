import test from 'ava';
import fc from 'fast-check';
import { FairQueue } from '../../src/attestation/fair-queue.ts';

function drain<T>(queue: FairQueue<T>): T[] {
  const taken: T[] = [];
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) taken.push(item);
  return taken;
}

test('whoever queues many waits behind his own', (t) => {
  const queue = new FairQueue<string>();
  for (const item of ['a1', 'a2', 'a3', 'a4']) queue.push(1, item);
  queue.push(2, 'b1');
  queue.push(3, 'c1');
  queue.push(2, 'b2');
  t.deepEqual(drain(queue), ['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4']);
});

test('an item that is taken out is not served, and an emptied queue is empty', (t) => {
  const queue = new FairQueue<string>();
  queue.push(1, 'a');
  queue.push(1, 'b');
  queue.delete(1, 'a');
  queue.delete(1, 'a');
  queue.delete(2, 'b');
  t.is(queue.size, 1);
  t.deepEqual(drain(queue), ['b']);
  t.is(queue.size, 0);
});

test('everything is served once, each key in its order, and no key twice while another waits', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 4 }), { maxLength: 40 }), (keys) => {
      const queue = new FairQueue<{ key: number; at: number }>();
      for (const [at, key] of keys.entries()) queue.push(key, { key, at });
      const taken = drain(queue);
      t.is(taken.length, keys.length);
      for (const key of new Set(keys)) {
        const own = taken.filter((item) => item.key === key).map(({ at }) => at);
        t.deepEqual(
          own,
          own.toSorted((a, b) => a - b),
        );
        t.is(own.length, keys.filter((one) => one === key).length);
      }
      taken.slice(1).forEach((item, i) => {
        if (item.key === taken[i]?.key) t.true(taken.slice(i + 1).every(({ key }) => key === item.key));
      });
    }),
  );
});
