import test from 'ava';
import { checkChain, type ExpectedChain } from '../../../src/agent/link/check-chain.ts';
import { createIssue } from '../../../src/ca/issue.ts';
import { CarnetError } from '../../../src/errors.ts';
import { csrSpki } from '../../../src/x509/csr.ts';
import { createAuthorities, DAY_SECONDS, issueRequest } from '../../ca/authorities.ts';
import { generateKeys } from '../../x509/keys.ts';

const authorities = await createAuthorities('ec-p256');
const others = await createAuthorities('ec-p256');

/** A leaf of the issuing CA, and what an agent that asked for it takes; `roots` is another object each time. */
async function issued(): Promise<{ chain: readonly Uint8Array[]; expected: ExpectedChain }> {
  const request = issueRequest(generateKeys('ec-p256'), 'ec-p256');
  const issue = createIssue({
    activeAuthority: () => authorities.issuing.signing,
    recorder: { record: async () => undefined },
    clock: Date.now,
    defaultTtlSeconds: 3600,
    backdateSeconds: 0,
  });
  const { chain } = await issue(request);
  const roots = [authorities.root.signing.certificate];
  const spki = csrSpki(request.csr);
  return { chain, expected: { identity: request.grant.spiffeId, spki, roots, now: Date.now() } };
}

test('leaf after leaf of the same issuing CA is taken, and each is verified itself', async (t) => {
  const [first, second] = [await issued(), await issued()];
  const { roots } = first.expected;
  await t.notThrowsAsync(checkChain(first.chain, first.expected));
  await t.notThrowsAsync(checkChain(second.chain, { ...second.expected, roots }));
  await t.throwsAsync(checkChain(first.chain, { ...second.expected, roots }), REFUSED);
  await t.throwsAsync(
    checkChain([flipped(second.chain[0]), ...second.chain.slice(1)], { ...second.expected, roots }),
    REFUSED,
  );
});

const REFUSED = { instanceOf: CarnetError, code: 'certificate_lint_failed' };

interface Mutation {
  readonly title: string;
  readonly chain?: (chain: readonly Uint8Array[]) => Uint8Array[];
  readonly expected?: Partial<ExpectedChain>;
}

const MUTATIONS: readonly Mutation[] = [
  {
    title: 'a flipped bit in the issuing CA',
    chain: ([leaf, issuing]) => [leaf as Uint8Array, flipped(issuing)],
  },
  {
    title: 'another issuing CA',
    chain: ([leaf]) => [leaf as Uint8Array, others.issuing.signing.certificate],
  },
  { title: 'no issuing CA', chain: ([leaf]) => [leaf as Uint8Array] },
  { title: 'another root', expected: { roots: [others.root.signing.certificate] } },
  { title: 'no root', expected: { roots: [] } },
  { title: 'the end of the issuing CA', expected: { now: Date.now() + 8 * DAY_SECONDS * 1000 } },
];

for (const known of [false, true])
  for (const { title, chain, expected } of MUTATIONS)
    test(`refuses ${title}, ${known ? 'though its like was taken before' : 'at first sight'}`, async (t) => {
      const good = await issued();
      if (known) await checkChain(good.chain, good.expected);
      const mutated = checkChain(chain?.(good.chain) ?? good.chain, { ...good.expected, ...expected });
      await t.throwsAsync(mutated, REFUSED);
      await t.notThrowsAsync(checkChain(good.chain, good.expected));
    });

/** With the last bit of its signature turned over. */
function flipped(der: Uint8Array | undefined): Uint8Array {
  const copy = Uint8Array.from(der ?? []);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
}
