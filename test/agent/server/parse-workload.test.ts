import test from 'ava';
import { parseWorkload } from '../../../src/agent/server/parse-workload.ts';
import { parseSelector } from '../../../src/identity/selector.ts';

const AGENT = {
  ...{ node: 'n1', serial: 'aa', address: '192.0.2.1', evidence: {}, connection: 'peer-1' },
  selectors: [parseSelector('node:name:n1')],
};

test('an agent says what a workload shows, but nothing of nodes, nor of certificates that only servers see', (t) => {
  const { selectors } = parseWorkload(
    {
      instance: 'container:1',
      selectors: [
        'unix:uid:7',
        'node:name:n2',
        'node:k8s:node-name:n2',
        'spiffe:id:spiffe://carnet.local/web',
      ],
      evidence: '{}',
    },
    AGENT,
  );
  t.deepEqual(selectors, ['node:name:n1', 'unix:uid:7'].map(parseSelector));
});

test('which certificate the agent showed is our own word in the evidence', (t) => {
  const claimed = { instance: 'container:1', selectors: [], evidence: '{"agent_serial":"bb","uid":7}' };
  t.deepEqual(parseWorkload(claimed, AGENT).evidence, { agent_serial: 'aa', uid: 7 });
});
