import test from 'ava';
import { advisedOf } from '../../src/cli/agent-socket.ts';
import { CarnetError } from '../../src/errors.ts';

for (const [error, advice] of [
  [new CarnetError('permission_denied', 'no entry matches'), /^no entry matches \(.* unix:uid:\d+; /],
  [new CarnetError('unavailable', 'connect ENOENT /a.sock'), / --agent-socket\)$/],
  [new CarnetError('unavailable', 'connect ECONNREFUSED /a.sock'), / --agent-socket\)$/],
  [new CarnetError('unavailable', 'no server: connect ECONNREFUSED 10.0.0.1:8443'), /:8443$/],
  [new CarnetError('unavailable', 'the agent is stopping'), /^the agent is stopping$/],
] as const)
  test(`${error.code}: ${error.message} is told with what can be done here`, (t) => {
    const advised = advisedOf(error, '/a.sock') as CarnetError;
    t.is(advised.code, error.code);
    t.regex(advised.message, advice);
  });
