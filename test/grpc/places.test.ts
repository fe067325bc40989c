import test from 'ava';
import { Places } from '../../src/grpc/places.ts';
import { DEFAULT_LIMITS } from '../../src/sds/limits.ts';

test('an instance gets as many places as it may, and a place back once', (t) => {
  const places = new Places({ ...DEFAULT_LIMITS, streamsPerInstance: 2 });
  const leave = places.take('a');
  places.take('a');
  t.throws(() => places.take('a'), { code: 'overloaded' });
  t.notThrows(() => places.take('b'));
  leave();
  leave();
  t.is(places.taken, 2);
  t.notThrows(() => places.take('a'));
  t.throws(() => places.take('a'), { code: 'overloaded' });
});

test('all instances together get as many places as there are', (t) => {
  const places = new Places({ ...DEFAULT_LIMITS, streams: 2 });
  places.take('a');
  places.take('b');
  t.throws(() => places.take('c'), { code: 'overloaded' });
});
