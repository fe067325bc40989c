import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { CarnetError, errorCodeOf } from '../../src/errors.ts';
import { buildCsr } from '../../src/x509/build-csr.ts';
import { parseCsr } from '../../src/x509/csr.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import type { KeyKind } from '../../src/x509/public-key.ts';
import { header, parseTree, type Tree, writeTree } from './der-tree.ts';
import { generateKeys, type KeyPair } from './keys.ts';
import { mutate, pick, type Random, seeded } from './mutate.ts';
import { openssl } from './openssl.ts';

/** Must-show 7: 100,000 mutated requests. */
const SEEDS = [1, 2, 3, 4];
const MUTANTS_PER_SEED = 25_000;
/** Every accepted request is verified in this process; one in so many also by the openssl command, which takes 5 ms. */
const OPENSSL_SAMPLE = 25;

interface Sample {
  readonly keys: KeyPair;
  readonly kind: KeyKind;
  readonly tree: Tree;
}

/** Requests that are good as they are, ours and OpenSSL's. */
const GOOD: readonly Sample[] = [
  ...(['ec-p256', 'ec-p384', 'rsa', 'ed25519'] as const).map((kind) => ourSample(kind, generateKeys(kind))),
  opensslSample('ec-p256', generateKeys('ec-p256')),
  opensslSample('rsa', generateKeys('rsa')),
];
/** Requests that are signed by their keys, which nobody may have. */
const FOREIGN: readonly Sample[] = [
  ourSample('rsa', generateKeyPairSync('rsa', { modulusLength: 1024 })),
  ourSample('rsa', generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 })),
  ourSample('ec-p256', generateKeyPairSync('ec', { namedCurve: 'secp256k1' })),
];
const SAMPLES: readonly Sample[] = [...GOOD, ...FOREIGN];
/** P-384 takes ten times as long as the others, and is taken less often. */
const QUICK = SAMPLES.filter(({ kind }) => kind !== 'ec-p384');
const SLOW_SHARE = 1 / 10;

const CLEAR_CODES = ['csr_malformed', 'key_unsupported', 'key_weak', 'proof_of_possession_failed'] as const;

for (const seed of SEEDS)
  test.serial(
    `of ${MUTANTS_PER_SEED} mutated requests none is accepted but what its key signed (seed ${seed})`,
    async (t) => {
      const random = seeded(seed);
      const counts = new Map<string, number>();
      const count = (what: string): number => {
        counts.set(what, (counts.get(what) ?? 0) + 1);
        return counts.get(what) ?? 0;
      };
      for (let i = 0; i < MUTANTS_PER_SEED; i++) {
        const sample = pick(random, random() < SLOW_SHARE ? SAMPLES : QUICK);
        const der = mutant(random, sample);
        try {
          const publicKey = await parseCsr(der);
          if (!isProved(der, publicKey.spki)) t.fail(`accepted without proof: ${der.toString('hex')}`);
          if (count('accepted') % OPENSSL_SAMPLE === 0) count(opensslVerdict(der));
        } catch (error) {
          const clear = error instanceof CarnetError && CLEAR_CODES.some((code) => code === error.code);
          if (!clear) t.fail(`${error}: ${der.toString('hex')}`);
          count(errorCodeOf(error));
        }
      }
      t.log(Object.fromEntries(counts));
      t.false(counts.has('refused by OpenSSL'));
      for (const outcome of ['accepted', 'verified by OpenSSL', ...CLEAR_CODES])
        t.true((counts.get(outcome) ?? 0) > 20, `too few of ${outcome} to show anything`);
    },
  );

/** One to three mutations of the structure, or of the bytes; a third of them signed anew by the sample's own key. */
function mutant(random: Random, sample: Sample): Buffer {
  const donor = pick(random, SAMPLES).tree;
  let tree = sample.tree;
  for (let rounds = 1 + Math.floor(random() * 3); rounds > 0; rounds--) tree = mutate(random, tree, donor);
  if (random() < 1 / 3) resign(tree, sample);
  const der = writeTree(tree);
  return random() < 1 / 10 ? mutateBytes(random, der) : der;
}

/** Puts the sample's signature over the first part of the request into its last, if they are still there. */
function resign({ children }: Tree, { keys, kind }: Sample): void {
  const [info] = children ?? [];
  const last = children?.at(-1);
  if (info === undefined || last === undefined || info === last) return;
  const digest = kind === 'ed25519' ? null : kind === 'ec-p384' ? 'sha384' : 'sha256';
  last.children = null;
  last.value = Buffer.concat([Buffer.of(0), sign(digest, writeTree(info), keys.privateKey)]);
}

function mutateBytes(random: Random, der: Buffer): Buffer {
  const at = Math.floor(random() * der.length);
  switch (Math.floor(random() * 4)) {
    case 0:
      return der.subarray(0, at);
    case 1:
      return Buffer.concat([der, der.subarray(at)]);
    case 2:
      return Buffer.concat([der.subarray(0, at), Buffer.of(0), der.subarray(at)]);
    default: {
      const flipped = Buffer.from(der);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      return flipped;
    }
  }
}

const DIGESTS: Readonly<Record<string, string | null>> = {
  '06082a8648ce3d040302': 'sha256',
  '06082a8648ce3d040303': 'sha384',
  '06082a8648ce3d040304': 'sha512',
  '06092a864886f70d01010b0500': 'sha256',
  '06092a864886f70d01010c0500': 'sha384',
  '06092a864886f70d01010d0500': 'sha512',
  '06032b6570': null,
};

/** Whether `spki` stands in the request and its private key signed it: cut out and verified without src/x509. */
function isProved(der: Buffer, spki: Uint8Array): boolean {
  const infoStart = header(der, 0).start;
  const info = der.subarray(infoStart, header(der, infoStart).end);
  const algorithm = header(der, infoStart + info.length);
  const signature = header(der, algorithm.end);
  const digest = DIGESTS[der.toString('hex', algorithm.start, algorithm.end)];
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  return (
    digest !== undefined &&
    info.includes(Buffer.from(spki)) &&
    GOOD.some(({ keys }) => keys.publicKey.equals(key)) &&
    verify(digest, info, key, der.subarray(signature.start + 1, signature.end))
  );
}

/** OpenSSL looks into the subject and the attributes, which we drop: some requests it cannot read at all. */
function opensslVerdict(der: Buffer): 'verified by OpenSSL' | 'refused by OpenSSL' | 'unreadable to OpenSSL' {
  const { status, stderr } = openssl(['req', '-verify', '-noout'], encodePem('CERTIFICATE REQUEST', der));
  if (status === 0) return 'verified by OpenSSL';
  return stderr.includes('Unable to load X509 request') ? 'unreadable to OpenSSL' : 'refused by OpenSSL';
}

function ourSample(kind: KeyKind, keys: KeyPair): Sample {
  return { keys, kind, tree: parseTree(buildCsr(keys, kind)) };
}

/** A request as people make them: with a subject and with names in an attribute. */
function opensslSample(kind: KeyKind, keys: KeyPair): Sample {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-csr-'));
  try {
    const keyFile = join(directory, 'key.pem');
    writeFileSync(keyFile, keys.privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
    const subject = ['-subj', '/O=Somebody/CN=web', '-addext', 'subjectAltName=DNS:web.internal'];
    const { stdout } = openssl(['req', '-new', '-sha256', '-key', keyFile, ...subject]);
    const [der] = decodePem('CERTIFICATE REQUEST', stdout);
    if (der === undefined) throw new Error('openssl made no request');
    return { keys, kind, tree: parseTree(der) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
