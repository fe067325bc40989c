import type { SigningAuthority } from '../ca/authority.ts';
import type { AuthorityTransaction, NewAuthority, StoredAuthority } from '../ca/authority-store.ts';
import { nextCrl } from '../ca/crl.ts';
import { openAuthority } from '../ca/open-authority.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm } from '../ca/signer.ts';
import { tryAuthority } from '../ca/trial-leaf.ts';
import { checkUpstreamChain, type UpstreamChain } from '../ca/upstream-chain.ts';
import { createUpstreamRequest, type UpstreamRequest } from '../ca/upstream-request.ts';
import { CarnetError } from '../errors.ts';
import { toHex } from '../x509/bytes.ts';
import { parseCsr } from '../x509/csr.ts';
import { keyIdentifier, parsePublicKey } from '../x509/public-key.ts';
import { type ApplyOptions, readSituation, type StoredSituation, startRotation } from './apply.ts';
import { recordChange, setState } from './change.ts';
import { signing } from './plan.ts';

export interface ImportRequest {
  /** What the outside CA answered: our certificate first, the self-signed root last. DER. */
  readonly chain: readonly Uint8Array[];
  /** The rotation goes on by itself; else each step waits for its request. */
  readonly handsFree: boolean;
  /** Null: the server's default. */
  readonly holdSeconds: number | null;
  readonly actor: string;
  readonly reason: string;
}

/** The request (PKCS#10, DER) for an issuing CA under an outside root. Asked again, it is the same until its answer is imported. */
export function requestUpstream(options: ApplyOptions, actor: string): Promise<Uint8Array> {
  const { store, keys, trustDomain, issuingKeyType } = options;
  return store.transact(async (tx) => {
    const known = await tx.upstreamRequest();
    if (known !== null) return known.csr;
    const request = await createUpstreamRequest(trustDomain, issuingKeyType, keys);
    await tx.replaceUpstreamRequest(request);
    await tx.event({
      actor,
      action: 'authority.request',
      subject: request.id,
      before: null,
      after: { id: request.id, key_algorithm: request.keyAlgorithm },
      reason: '',
    });
    return request.csr;
  });
}

/**
 * Takes an outside CA's answer: the root, without a key, and the issuing CA with ours are prepared, and the rotation
 * to them begins, or the one that waits for them goes on. Throws `not_found` without a request, `invalid_argument`
 * for a chain that does not hold, and `conflict` while another successor is under way. Resolves to the issuing CA's ID.
 */
export async function importUpstream(options: ApplyOptions, request: ImportRequest): Promise<string> {
  const now = options.clock();
  return options.store.transact(async (tx) => {
    const pending = await tx.upstreamRequest();
    if (pending === null)
      throw new CarnetError('not_found', 'there is no request to import an answer to: make one first');
    const { spki } = await parseCsr(pending.csr);
    const { trustDomain } = options;
    const chain = await checkUpstreamChain(request.chain, { spki, trustDomain, now });
    const situation = await readSituation(tx);
    const root = rootOf(chain, situation);
    const issuing = issuingOf(chain, pending, root.id);
    const signer = openAuthority(issuing, options.keys);
    await tryAuthority(signer, options);
    await store(tx, options, request, situation, { root, issuing, signer, now });
    await tx.replaceUpstreamRequest(null);
    await rotateTo(tx, options, request, situation, root.id, issuing.id);
    return issuing.id;
  });
}

interface Imported {
  readonly root: NewAuthority;
  readonly issuing: NewAuthority;
  readonly signer: SigningAuthority;
  readonly now: number;
}

/** The root, where it is new, and the issuing CA with its first CRL. The outside CA keeps the record of their making. */
async function store(
  tx: AuthorityTransaction,
  options: ApplyOptions,
  { actor, reason }: ImportRequest,
  situation: StoredSituation,
  { root, issuing, signer, now }: Imported,
): Promise<void> {
  const context = { tx, situation, options, actor, why: reason, now };
  const known = situation.authorities.find(({ id }) => id === root.id);
  if (known?.state === 'retired') await setState(context, known, 'prepared', 'authority.import');
  for (const authority of known === undefined ? [root, issuing] : [issuing]) {
    await tx.insert(authority);
    await recordChange(context, 'authority.import', null, authority);
  }
  await tx.insertCrl(await nextCrl(signer, null, [], now, options.backdateSeconds));
}

/** A new root takes a root rotation; an issuing CA under the root that signs now, one of issuing CAs. */
async function rotateTo(
  tx: AuthorityTransaction,
  options: ApplyOptions,
  { actor, reason, handsFree, holdSeconds }: ImportRequest,
  { authorities, rotations }: StoredSituation,
  rootId: string,
  issuingId: string,
): Promise<void> {
  const current = signing(authorities, 'root')?.id;
  const kind = rootId === current ? 'issuing' : 'root';
  const newId = kind === 'root' ? rootId : issuingId;
  const oldId = signing(authorities, kind)?.id;
  if (oldId === undefined)
    throw new CarnetError('authority_unavailable', `there is no ${kind} authority yet`);
  const open = rotations.find((rotation) => rotation.kind === kind);
  if (open !== undefined && open.newId !== null)
    throw new CarnetError(
      'conflict',
      `a ${kind} rotation to ${open.newId} is under way: end or abort it first`,
    );
  if (open === undefined)
    await startRotation(
      {
        kind,
        oldId,
        handsFree,
        urgent: false,
        crossSign: false,
        holdSeconds: holdSeconds ?? options.schedule.holdSeconds,
        actor,
        reason,
      },
      { tx, actor, why: reason },
    );
  const started = (await tx.rotations()).find((rotation) => rotation.kind === kind);
  if (started !== undefined) await tx.updateRotation(started.id, { newId, handsFree });
}

function rootOf({ root }: UpstreamChain, { authorities }: StoredSituation): NewAuthority {
  const { spki, der, notBefore, notAfter } = root;
  const publicKey = parsePublicKey(spki);
  const id = `root-${toHex(keyIdentifier(publicKey.octets).subarray(0, 4))}`;
  const known = authorities.find((authority) => authority.id === id);
  if (known !== undefined) return usable(known);
  return {
    id,
    kind: 'root',
    state: 'prepared',
    parentId: id,
    certificate: der,
    notBefore,
    notAfter,
    keyAlgorithm: algorithmOf(publicKey.kind === 'rsa' ? `rsa-${publicKey.bits}` : publicKey.kind),
    sealedKey: null,
    keyReference: null,
    crossCertificate: null,
    intermediates: [],
  };
}

/** The root that signs now, or one that was given up. One of ours never is that: its key, which has signed this, is destroyed. */
function usable(root: StoredAuthority): StoredAuthority {
  if (root.state === 'active' || root.state === 'retired') return root;
  throw new CarnetError(
    'conflict',
    `root ${root.id} is ${root.state}: end its rotation first, or take another`,
  );
}

function algorithmOf(name: string): KeyAlgorithm {
  const algorithm = KEY_ALGORITHMS.find((known) => known === name);
  if (algorithm === undefined)
    throw new CarnetError(
      'key_unsupported',
      `the root has a key of ${name}; it may be one of ${KEY_ALGORITHMS.join(', ')}`,
    );
  return algorithm;
}

function issuingOf(
  { issuing, intermediates }: UpstreamChain,
  { id, keyAlgorithm, sealedKey, keyReference }: UpstreamRequest,
  parentId: string,
): NewAuthority {
  const { der, notBefore, notAfter } = issuing;
  return {
    id,
    kind: 'issuing',
    state: 'prepared',
    parentId,
    certificate: der,
    notBefore,
    notAfter,
    keyAlgorithm,
    sealedKey,
    keyReference,
    crossCertificate: null,
    intermediates: intermediates.map((certificate) => certificate.der),
  };
}
