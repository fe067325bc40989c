import { createHash } from 'node:crypto';
import test from 'ava';
import { agentIdOf, nodeOfAgentId, parseNodeName, serverIdOf } from '../../src/agent/identity.ts';
import { createJoinToken, hashJoinToken, parseJoinToken } from '../../src/agent/join-token-text.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';

const ROOTS = [1, 2, 3, 4, 5].map((byte) => new Uint8Array([byte]));
const DOMAIN = parseTrustDomain('carnet.local');

test('a token carries its ID and the SHA-256 of the newest four roots', (t) => {
  const token = createJoinToken(ROOTS);
  t.deepEqual(
    parseJoinToken(token.text).rootSha256.map((one) => Buffer.from(one).toString('hex')),
    ROOTS.slice(1).map((root) => createHash('sha256').update(root).digest('hex')),
  );
  t.is(parseJoinToken(token.text).id, token.id);
  t.is(hashJoinToken(token.text).length, 32);
});

test('no two tokens are the same', (t) => {
  const texts = Array.from({ length: 100 }, () => createJoinToken(ROOTS).text);
  t.is(new Set(texts).size, 100);
});

const { text } = createJoinToken(ROOTS.slice(0, 1));
for (const [claim, wrong] of [
  ['is empty', ''],
  ['is of another kind', text.replace('cnj1', 'cnj2')],
  ['names no root', text.split('.').slice(0, 3).join('.')],
  ['names five roots', `${text}${`.${text.split('.')[3]}`.repeat(4)}`],
  ['is cut', text.slice(0, -1)],
  ['goes on', `${text}x`],
  ['has a line break', `${text}\n`],
  ['has an ID in upper case', text.toUpperCase()],
] as const)
  test(`a text that ${claim} is no join token, and is not repeated`, (t) => {
    const error = t.throws(() => parseJoinToken(wrong), { code: 'invalid_argument' });
    t.false(wrong !== '' && error?.message.includes(wrong));
  });

for (const name of ['a', 'web-1', 'ip-10-0-0-1.eu-central-1.compute.internal', 'a'.repeat(253)])
  test(`${name.slice(0, 20)} is a node's name, and its agent's identity ends in it`, (t) => {
    const id = agentIdOf(DOMAIN, parseNodeName(name));
    t.is(id as string, `spiffe://carnet.local/carnet/agent/${name}`);
    t.is(nodeOfAgentId(id), name);
  });

for (const name of ['', 'A', '-a', 'a-', '.a', 'a.', 'a..b', 'a/b', 'a b', 'ä', 'a_b', 'a'.repeat(254)])
  test(`${JSON.stringify(name.slice(0, 20))} is not a node's name`, (t) => {
    t.throws(() => parseNodeName(name), { code: 'invalid_argument' });
  });

test('servers and workloads are not agents', (t) => {
  t.is(nodeOfAgentId(serverIdOf(DOMAIN)), null);
  t.is(nodeOfAgentId(parseSpiffeId('spiffe://carnet.local/agent/a')), null);
});
