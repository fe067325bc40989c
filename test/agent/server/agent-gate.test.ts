import test from 'ava';
import { AgentDirectory } from '../../../src/agent/server/agent-directory.ts';
import { AgentGate } from '../../../src/agent/server/agent-gate.ts';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.ts';

const CALL = { getPeer: () => 'peer-1' };
const STANDING = { method: 'join_token', selectors: [], evidence: {}, attestation: 1 };

function gateOf(directory: AgentDirectory): AgentGate {
  const caller = {
    ...{ kind: 'agent' as const, node: 'n1', address: '192.0.2.1', serial: 'aa' },
    ...{ spiffeId: parseSpiffeId('spiffe://carnet.local/carnet/agent/n1') },
    ...{ notAfter: new Date(0), certificate: new Uint8Array() },
  };
  const source = { callerOf: () => caller, onClosed: () => undefined };
  return new AgentGate(source, { presented: async () => STANDING }, directory);
}

test('on a connection that stands, what is known of the agent since is looked at for each call', async (t) => {
  const directory = new AgentDirectory();
  const gate = gateOf(directory);
  const state = { node: 'n1', attestation: 1, sessionId: null, banReason: null };
  await t.notThrowsAsync(gate.admit(CALL), 'one that is not in the directory yet');
  directory.replace([state], 0);
  await t.notThrowsAsync(gate.admit(CALL));
  directory.replace([{ ...state, attestation: 2 }], 0);
  await t.throwsAsync(gate.admit(CALL), { code: 'agent_unknown' });
  directory.replace([{ ...state, banReason: 'test' }], 0);
  t.throws(() => gate.identify(CALL), { code: 'agent_banned' });
  await t.throwsAsync(gate.admit(CALL), { code: 'agent_banned' });
});
