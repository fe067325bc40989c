import { generateKeyPairSync, hash, sign } from 'node:crypto';
import test from 'ava';
import type { Page } from 'playwright-core';
import type { IssuanceDetailsBody } from '../../src/api/issuances.ts';
import type { Keys, Step } from '../../web/app/proof/check-issuance.ts';
import { issueMany, startUi, type Ui } from './ui.ts';

type Record = IssuanceDetailsBody & { readonly log: NonNullable<IssuanceDetailsBody['log']> };
type Outcome = Step['outcome'];

let ui: Ui;
let page: Page;
let keys: Keys;
let records: Record[];

test.before(async () => {
  ui = await startUi();
  await ui.carnet.cli('jwt', 'fetch', '--audience', 'reports');
  await issueMany(ui, 12);
  const { items } = (await ui.carnet.call('GET', '/v1/issuances')) as { items: { serial: string }[] };
  records = await Promise.all(
    items.map(({ serial }) => ui.carnet.call('GET', `/v1/issuances/${serial}`) as Promise<Record>),
  );
  keys = { log: (await (await fetch(`${ui.carnet.url}/log/vkey`)).text()).trim(), witnesses: [] };
  ({ page } = await ui.open());
  await page.goto('/ui/');
});
test.after.always(() => ui?.[Symbol.asyncDispose]());

test.serial("the browser's own mathematics agree with the server's, for every record", async (t) => {
  for (const kind of ['root-ca', 'x509-svid', 'jwt-svid'])
    t.true(
      records.some(({ profile }) => profile === kind),
      kind,
    );
  const outcomes = await check(records, keys);
  t.deepEqual(
    outcomes,
    records.map(() => ['holds', 'holds', 'holds']),
  );
});

test.serial('no byte of entry, proof or checkpoint can be another', async (t) => {
  const record = leaf();
  const { log } = record;
  const entries = flips(log.entry).map((entry) => ({ ...record, log: { ...log, entry } }));
  const proofs = log.inclusion_proof.flatMap((hash, at) =>
    flips(hash).map((other) => ({
      ...record,
      log: { ...log, inclusion_proof: log.inclusion_proof.with(at, other) },
    })),
  );
  const notes = Array.from(log.checkpoint, (char, at) => ({
    ...record,
    log: {
      ...log,
      checkpoint: `${log.checkpoint.slice(0, at)}${char === 'x' ? 'y' : 'x'}${log.checkpoint.slice(at + 1)}`,
    },
  }));
  const altered = [...entries, ...proofs, ...notes];
  t.true(entries.length > 500 && proofs.length >= 96 && notes.length > 100);
  const outcomes = await check(altered, keys);
  const passed = outcomes.flatMap((steps, at) => (steps.includes('fails') ? [] : [at]));
  t.deepEqual(passed, []);
});

test.serial('no proof of another length, order or place holds', async (t) => {
  const record = leaf();
  const { log } = record;
  const proof = log.inclusion_proof;
  const altered = [
    { inclusion_proof: proof.slice(1) },
    { inclusion_proof: proof.slice(0, -1) },
    { inclusion_proof: [...proof, proof[0] ?? ''] },
    { inclusion_proof: proof.toReversed() },
    { inclusion_proof: [] },
    { index: log.index + 1 },
    { index: log.index - 1 },
    { index: -1 },
    { index: 0.5 },
    { index: 2 ** 53 },
    { checkpoint: '' },
    { entry: '' },
  ].map((part) => ({ ...record, log: { ...log, ...part } }));
  const outcomes = await check(altered, keys);
  t.deepEqual(
    outcomes.flatMap((steps, at) => (steps.includes('fails') ? [] : [at])),
    [],
  );
});

test.serial('no field of the record can say anything but what the entry says', async (t) => {
  const record = leaf();
  const altered: Partial<Record>[] = [
    { serial: '0'.repeat(32) },
    { identity: `${record.identity}x` },
    { dns_names: ['other.test'] },
    { profile: 'agent' },
    { authority: 'issuing-00000000' },
    { node: null },
    { instance: 'process:1' },
    { entry: null },
    { entry_version: 2 },
    { requester: 'agent:other' },
    { not_before: record.not_before.replace(/\d\.000Z$/, 'x') },
    { not_after: new Date(Date.parse(record.not_after) + 1000).toISOString() },
    { recorded_at: record.recorded_at.replace(/(\d)Z$/, (_, digit) => `${(Number(digit) + 1) % 10}Z`) },
    { public_key_sha256: record.certificate_sha256 },
    { certificate_sha256: record.public_key_sha256 },
    { evidence: { ...record.evidence, uid: 4711 } },
    { evidence: null },
    { certificate: null },
    {
      certificate: (record.certificate ?? '').replace(/[A-Za-z](?=[A-Za-z]{3}\n)/, (char) =>
        char === 'A' ? 'B' : 'A',
      ),
    },
  ];
  const outcomes = await check(
    altered.map((part) => ({ ...record, ...part })),
    keys,
  );
  t.deepEqual(
    outcomes.map(([first]) => first),
    altered.map(() => 'fails' as const),
  );
});

test.serial("another log's key does not verify, nor one that is none", async (t) => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const other = verifierKey('carnet.local/log', 0x01, publicKey.export({ format: 'jwk' }).x ?? '');
  for (const log of [other, keys.log.replace('carnet.local', 'carnet.other'), `${keys.log}x`, '', 'x+y+z'])
    t.deepEqual(await check([leaf()], { log, witnesses: [] }), [['holds', 'holds', 'fails']], log);
});

test.serial("a witness' cosignature is verified, and missed where it is not there", async (t) => {
  const record = leaf();
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = verifierKey('witness.test/w1', 0x04, publicKey.export({ format: 'jwk' }).x ?? '');
  const text = record.log.checkpoint.slice(0, record.log.checkpoint.indexOf('\n\n') + 1);
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(1_795_400_000n);
  const signature = sign(null, Buffer.from(`cosignature/v1\ntime 1795400000\n${text}`), privateKey);
  const line = (bytes: Buffer) =>
    `\u2014 witness.test/w1 ${Buffer.concat([Buffer.from(key.split('+')[1] ?? '', 'hex'), time, bytes]).toString('base64')}\n`;
  const cosigned = (bytes: Buffer) => ({
    ...record,
    log: { ...record.log, checkpoint: record.log.checkpoint + line(bytes) },
  });
  const witnessed = { ...keys, witnesses: [key] };
  const wrong = Buffer.from(signature);
  wrong[0] = (wrong[0] ?? 0) ^ 1;
  t.deepEqual(await check([cosigned(signature), cosigned(wrong), record], witnessed), [
    ['holds', 'holds', 'holds', 'holds'],
    ['holds', 'holds', 'holds', 'fails'],
    ['holds', 'holds', 'holds', 'open'],
  ]);
});

function leaf(): Record {
  const found = records.find(({ identity }) => identity.includes('/shop/'));
  if (found === undefined) throw new Error('no leaf was issued');
  return found;
}

/** What the page's own modules say of each record, in the browser. */
function check(those: readonly IssuanceDetailsBody[], { log, witnesses }: Keys): Promise<Outcome[][]> {
  return page.evaluate(
    async ({ those, log, witnesses }) => {
      const main = document.querySelector<HTMLScriptElement>('script[type=module]')?.src ?? '';
      const { checkIssuance } = (await import(
        new URL('proof/check-issuance.js', main).href
      )) as typeof import('../../web/app/proof/check-issuance.ts');
      const outcomes: ('holds' | 'fails' | 'open')[][] = [];
      for (const record of those)
        outcomes.push(
          ((await checkIssuance(record, { log, witnesses })) ?? []).map(({ outcome }) => outcome),
        );
      return outcomes;
    },
    { those: [...those], log, witnesses: [...witnesses] },
  );
}

/** The bytes with one bit of each of them flipped in turn, in base64. */
function flips(base64: string): string[] {
  const bytes = Buffer.from(base64, 'base64');
  return Array.from(bytes, (byte, at) => {
    const other = Buffer.from(bytes);
    other[at] = byte ^ (1 << (at % 8));
    return other.toString('base64');
  });
}

function verifierKey(name: string, type: number, key: string): string {
  const typed = Buffer.concat([Uint8Array.of(type), Buffer.from(key, 'base64url')]);
  const id = hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), typed]), 'hex').slice(0, 8);
  return `${name}+${id}+${typed.toString('base64')}`;
}
