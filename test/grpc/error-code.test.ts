import test from 'ava';
import { detailsOf } from '../../src/grpc/error-code.ts';

for (const [details, expected] of [
  [
    'No connection established. Last error: Error: connect ENOENT /run/a.sock. Resolution note: ',
    'connect ENOENT /run/a.sock',
  ],
  ['No connection established. Last error: CarnetError: not ours. Resolution note: x', 'not ours'],
  ['the agent is stopping', 'the agent is stopping'],
] as const)
  test(`of ${JSON.stringify(details)} a person is told ${expected}`, (t) => {
    t.is(detailsOf({ details }), expected);
  });
