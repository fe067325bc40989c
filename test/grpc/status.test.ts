import { status } from '@grpc/grpc-js';
import test from 'ava';
import { CarnetError } from '../../src/errors.ts';
import { statusOf } from '../../src/grpc/status.ts';

test('a CarnetError is told with its status and message, cut', (t) => {
  t.deepEqual(statusOf(new CarnetError('permission_denied', 'no')), {
    code: status.PERMISSION_DENIED,
    details: 'no',
  });
  const { details } = statusOf(new CarnetError('invalid_argument', `${'x'.repeat(511)}😀`));
  t.is(details.length, 512);
  t.notThrows(() => encodeURI(details));
});

test('of any other error a caller learns nothing', (t) => {
  t.deepEqual(statusOf(new Error('password=hunter2')), { code: status.INTERNAL, details: 'internal error' });
});
