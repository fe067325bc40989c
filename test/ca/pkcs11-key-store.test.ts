import { createPublicKey, X509Certificate } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { chmodSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import test from 'ava';
import type { SigningAuthority } from '../../src/ca/authority.ts';
import { createIssuing, createRoot } from '../../src/ca/create-authority.ts';
import { createIssue } from '../../src/ca/issue.ts';
import { createJwtKey, openJwtKey } from '../../src/ca/jwt-key.ts';
import { type KeyStore, keyStores } from '../../src/ca/key-store.ts';
import { openAuthority } from '../../src/ca/open-authority.ts';
import { pkcs11KeyStore } from '../../src/ca/pkcs11-key-store.ts';
import { CKA, findKey, readAttribute } from '../../src/ca/pkcs11-session.ts';
import { Pkcs11Token } from '../../src/ca/pkcs11-token.ts';
import { parseKeyUri } from '../../src/ca/pkcs11-uri.ts';
import type { KeyAlgorithm } from '../../src/ca/signer.ts';
import { verifyJws } from '../../src/identity/jws-algorithm.ts';
import { createSoftToken, type SoftToken } from '../support/softhsm.ts';
import { generateKeys } from '../x509/keys.ts';
import { authorityRequest, DAY_SECONDS, issueRequest, KEYS as SEALED } from './authorities.ts';

const LABEL = 'carnet test; a=b';
let token: SoftToken;
let keys: KeyStore;
/** `lost`, with the problem, and `back`. */
const changes = new EventEmitter();

test.before('a new token', (t) => {
  t.timeout(300_000);
  token = createSoftToken(LABEL);
  keys = openStore();
});
test.after.always(() => keys?.close());

function openStore(): KeyStore {
  const onChange = (problem: string | null) => changes.emit(problem === null ? 'back' : 'lost', problem);
  return pkcs11KeyStore({ ...token.options, onChange });
}

/** The next one. Attempts to reconnect do not keep a process alive, so this does. */
async function change(name: 'lost' | 'back'): Promise<void> {
  const alive = setInterval(() => undefined, 1_000);
  await once(changes, name, { signal: AbortSignal.timeout(30_000) }).finally(() => clearInterval(alive));
}

async function createInToken(keyAlgorithm: KeyAlgorithm = 'ec-p256') {
  const root = await createRoot(authorityRequest({ keyAlgorithm, ttlSeconds: 365 * DAY_SECONDS }), keys);
  const issuing = await createIssuing(root.signing, authorityRequest({ keyAlgorithm }), keys);
  return { root, issuing };
}

async function issueLeaf(authority: SigningAuthority): Promise<X509Certificate> {
  const issue = createIssue({
    activeAuthority: () => authority,
    recorder: { record: async () => undefined },
    clock: Date.now,
    defaultTtlSeconds: 3600,
    backdateSeconds: 30,
  });
  const { chain } = await issue(issueRequest(generateKeys('ec-p256'), 'ec-p256'));
  return new X509Certificate(chain[0] ?? new Uint8Array());
}

for (const algorithm of ['ec-p256', 'ec-p384', 'rsa-2048'] as const)
  test.serial(`a root and an issuing CA of ${algorithm} are made in the token, and sign there`, async (t) => {
    const { root, issuing } = await createInToken(algorithm);
    const [rootCertificate, issuingCertificate] = [root, issuing].map(
      ({ stored }) => new X509Certificate(stored.certificate),
    );
    if (rootCertificate === undefined || issuingCertificate === undefined) return t.fail();
    t.true(rootCertificate.verify(rootCertificate.publicKey));
    t.true(issuingCertificate.verify(rootCertificate.publicKey));
    const leaf = await issueLeaf(issuing.signing);
    t.true(leaf.verify(issuingCertificate.publicKey));
    for (const { stored } of [root, issuing]) {
      t.is(stored.sealedKey, null);
      t.like(parseKeyUri(stored.keyReference ?? ''), { token: LABEL, object: stored.id });
    }
  });

test.serial('nothing of a key can be exported: sensitive and unextractable since it was made', async (t) => {
  const { root } = await createInToken();
  const { id, object } = parseKeyUri(root.stored.keyReference ?? '');
  const other = new Pkcs11Token({ ...token.options, onChange: () => undefined });
  await other.use(async (session) => {
    const [privateKey = 0] = await findKey(session, id, object);
    for (const [attribute, expected] of [
      ['sensitive', 1],
      ['alwaysSensitive', 1],
      ['extractable', 0],
      ['neverExtractable', 1],
      ['token', 1],
      ['private', 1],
    ] as const)
      t.is((await readAttribute(session, privateKey, CKA[attribute]))[0], expected, attribute);
  });
  const refused = other.use(async (session) => {
    const [privateKey = 0] = await findKey(session, id, object);
    return readAttribute(session, privateKey, CKA.value);
  });
  t.regex((await t.throwsAsync(refused)).message, /CKR_ATTRIBUTE_SENSITIVE/);
  await other.close();
});

test.serial('what is stored opens again after a restart, and signs as before', async (t) => {
  const { root, issuing } = await createInToken();
  await keys.close();
  keys = openStore();
  t.true((await issueLeaf(openAuthority(issuing.stored, keys))).verify(publicKeyOf(issuing.stored)));
  await t.notThrowsAsync(createIssuing(openAuthority(root.stored, keys), authorityRequest(), keys));
});

test.serial('a token that is away is a clear, retryable error; back, it is used again', async (t) => {
  const { issuing } = await createInToken();
  const lost = change('lost');
  renameSync(token.tokens, `${token.tokens}.away`);
  t.like(await t.throwsAsync(issueLeaf(issuing.signing)), { code: 'authority_unavailable' });
  await lost;
  t.not(keys.problem, null);
  t.like(await t.throwsAsync(issueLeaf(issuing.signing)), { code: 'authority_unavailable' });
  const back = change('back');
  renameSync(`${token.tokens}.away`, token.tokens);
  await back;
  t.is(keys.problem, null);
  t.true((await issueLeaf(issuing.signing)).verify(publicKeyOf(issuing.stored)));
});

test.serial('a session that another use of the module ended is opened again without a failure', async (t) => {
  const { issuing } = await createInToken();
  const other = new Pkcs11Token({ ...token.options, onChange: () => undefined });
  await other.use(async () => undefined);
  await other.close();
  t.true((await issueLeaf(issuing.signing)).verify(publicKeyOf(issuing.stored)));
});

test.serial('a PIN that was refused is not said again before its file has changed', async (t) => {
  const { issuing } = await createInToken();
  await keys.close();
  const { pinFile } = token.options;
  const writePin = (pin: string, time: number) => {
    writeFileSync(pinFile, pin);
    utimesSync(pinFile, time, time);
  };
  writePin('wrong', 1_000_000);
  keys = openStore();
  const signing = openAuthority(issuing.stored, keys);
  t.regex((await t.throwsAsync(issueLeaf(signing))).message, /refused the PIN \(CKR_PIN_INCORRECT\)/);
  // The right one would do, were it tried: the file looks as before.
  writePin(token.pin, 1_000_000);
  t.like(await t.throwsAsync(issueLeaf(signing)), { code: 'authority_unavailable' });
  const back = change('back');
  writePin(token.pin, 2_000_000);
  await back;
  t.true((await issueLeaf(signing)).verify(publicKeyOf(issuing.stored)));
});

test.serial('a PIN that others can read is not used', async (t) => {
  await keys.close();
  chmodSync(token.options.pinFile, 0o644);
  keys = openStore();
  t.regex((await t.throwsAsync(createInToken())).message, /run chmod 600/);
  chmodSync(token.options.pinFile, 0o600);
  await keys.close();
  keys = openStore();
  await t.notThrowsAsync(createInToken());
});

test.serial('a destroyed key is gone from the token; destroyed again, it stays so', async (t) => {
  const { root, issuing } = await createInToken();
  await keys.destroy(issuing.stored);
  await keys.destroy(issuing.stored);
  t.like(await t.throwsAsync(issueLeaf(openAuthority(issuing.stored, keys))), {
    code: 'authority_unavailable',
  });
  await t.notThrowsAsync(createIssuing(root.signing, authorityRequest(), keys));
});

test.serial('a key that is not its authority’s signs nothing', async (t) => {
  const [one, two] = [await createInToken(), await createInToken()];
  const mixed = openAuthority({ ...one.issuing.stored, keyReference: two.issuing.stored.keyReference }, keys);
  t.like(await t.throwsAsync(issueLeaf(mixed)), { code: 'key_unseal_failed' });
});

test.serial('another token’s key is not looked for', async (t) => {
  const { issuing } = await createInToken();
  const keyReference = issuing.stored.keyReference?.replace(/token=[^;]*/, 'token=other') ?? null;
  const elsewhere = openAuthority({ ...issuing.stored, keyReference }, keys);
  t.like(await t.throwsAsync(issueLeaf(elsewhere)), { code: 'authority_unavailable' });
});

for (const algorithm of ['ec-p256', 'rsa-2048'] as const)
  test.serial(`a key of JWT-SVIDs of ${algorithm} is made in the token, and signs there`, async (t) => {
    const stored = await createJwtKey({ keyAlgorithm: algorithm, ttlSeconds: 3600, now: Date.now() }, keys);
    t.is(stored.sealedKey, null);
    t.like(parseKeyUri(stored.keyReference ?? ''), { token: LABEL, object: stored.id });
    const key = openJwtKey(stored, keys);
    const input = Buffer.from('a.b');
    const verifier = createPublicKey({ key: Buffer.from(key.publicKey), format: 'der', type: 'spki' });
    t.true(verifyJws(key.algorithm, verifier, input, await key.sign(input)));
    await keys.destroy(stored);
    await t.throwsAsync(openJwtKey(stored, keys).sign(input), { code: 'authority_unavailable' });
  });

test.serial('a rotation moves authorities from sealed keys into the token', async (t) => {
  const both = keyStores({ sealed: SEALED, token: keys, newKeys: keys });
  const sealed = await createRoot(authorityRequest(), SEALED);
  const root = openAuthority(sealed.stored, both);
  const issuing = await createIssuing(root, authorityRequest(), both);
  t.is(issuing.stored.sealedKey, null);
  t.true((await issueLeaf(openAuthority(issuing.stored, both))).verify(publicKeyOf(issuing.stored)));
  const sealedOnly = keyStores({ sealed: SEALED, token: null, newKeys: SEALED });
  t.like(
    t.throws(() => openAuthority(issuing.stored, sealedOnly)),
    { code: 'authority_unavailable' },
  );
});

test.serial('ed25519 is refused, and leaves nothing behind', async (t) => {
  t.like(await t.throwsAsync(createInToken('ed25519')), { code: 'key_unsupported' });
});

test('what is no PKCS#11 module is refused at the start', (t) => {
  for (const modulePath of ['/nowhere/module.so', process.execPath])
    t.like(
      t.throws(() => pkcs11KeyStore({ ...token.options, modulePath, onChange: () => undefined })),
      { code: 'config_invalid' },
    );
});

function publicKeyOf({ certificate }: { certificate: Uint8Array }) {
  return new X509Certificate(certificate).publicKey;
}
