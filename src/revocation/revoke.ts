import type { AuthorityStore, AuthorityTransaction, StoredAuthority } from '../ca/authority-store.ts';
import { nextCrl } from '../ca/crl.ts';
import type { KeyStore } from '../ca/key-store.ts';
import { openAuthority } from '../ca/open-authority.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { signing } from '../rotation/plan.ts';
import { parseCertificate } from '../x509/certificate.ts';
import type { RevocationReason } from '../x509/revocation-reason.ts';
import { serialHex } from '../x509/serial.ts';

/** What is revoked: exactly one of them. */
export type Target =
  | { readonly kind: 'serial'; readonly serial: string }
  | { readonly kind: 'identity'; readonly identity: string }
  | { readonly kind: 'instance'; readonly instance: string }
  | { readonly kind: 'node'; readonly node: string }
  | { readonly kind: 'authority'; readonly authority: string };

export interface RevokeRequest {
  readonly target: Target;
  readonly reasonCode: RevocationReason;
  /** In the operator's words; on record. */
  readonly reason: string;
  /** An authority's certificate is revoked whoever still presents what it signed. */
  readonly force: boolean;
  readonly actor: string;
}

export interface Revoked {
  /** Null for an authority, whose certificate alone is revoked. */
  readonly denialId: number | null;
  /** Certificates revoked by this. */
  readonly count: number;
  /** Of the bundle that carries the news. */
  readonly sequence: number;
}

export interface RevokeOptions {
  readonly store: AuthorityStore;
  readonly keys: KeyStore;
  readonly clock: Clock;
  readonly backdateSeconds: number;
}

/**
 * Revokes, in one transaction: what fits is denied from then on, what was issued to it and is still valid is in the
 * CRLs of its authorities, and these are in the bundle that every proxy is sent. Throws `not_found`; `conflict` for
 * an authority that signs now or whose revocation would break somebody; `authority_unavailable` while a CRL cannot be
 * signed: then nothing is revoked.
 */
export function revoke(options: RevokeOptions, request: RevokeRequest): Promise<Revoked> {
  const { target, reasonCode, reason, force, actor } = request;
  return options.store.transact(async (tx) => {
    const result =
      target.kind === 'authority'
        ? await revokeAuthority(tx, options, request, target.authority)
        : await revokeBearer(tx, options, request, target);
    await tx.event({
      actor,
      action: 'revocation.create',
      subject:
        result.denialId === null && target.kind === 'authority' ? target.authority : String(result.denialId),
      before: null,
      after: { ...target, reason_code: reasonCode, force, certificates: result.count },
      reason,
    });
    return result;
  });
}

/** Lets what a denial refused be issued again. What was revoked stays so. Throws `not_found`. */
export function liftDenial(options: RevokeOptions, id: number, actor: string): Promise<void> {
  return options.store.transact(async (tx) => {
    await tx.liftDenial(id);
    await tx.event({
      actor,
      action: 'revocation.lift',
      subject: String(id),
      before: null,
      after: null,
      reason: '',
    });
  });
}

async function revokeBearer(
  tx: AuthorityTransaction,
  options: RevokeOptions,
  { reasonCode, reason, actor }: RevokeRequest,
  target: Exclude<Target, { kind: 'authority' }>,
): Promise<Revoked> {
  const bearer = { identity: null, instance: null, node: null, ...(await bearerOf(tx, target)) };
  const denialId = await tx.insertDenial({ ...bearer, reason, actor });
  const found = await tx.revokeMatching(denialId, reasonCode);
  const sequence = await publishCrls(tx, options, new Set(found.map(({ authorityId }) => authorityId)));
  return { denialId, count: found.length, sequence };
}

/** A serial stands for its identity at its instance: the next certificate of the two would be as bad. */
async function bearerOf(
  tx: AuthorityTransaction,
  target: Exclude<Target, { kind: 'authority' }>,
): Promise<Partial<Record<'identity' | 'instance' | 'node', string>>> {
  if (target.kind === 'identity') return { identity: target.identity };
  if (target.kind === 'instance') return { instance: target.instance };
  if (target.kind === 'node') return { node: target.node };
  const found = await tx.issuance(target.serial);
  if (found === undefined)
    throw new CarnetError('not_found', `no certificate with serial ${target.serial} was ever issued here`);
  if (found.instance === null)
    throw new CarnetError('conflict', `${target.serial} is a CA's certificate: revoke it with --authority`);
  return { identity: found.identity, instance: found.instance };
}

async function revokeAuthority(
  tx: AuthorityTransaction,
  options: RevokeOptions,
  { reasonCode, reason, force, actor }: RevokeRequest,
  id: string,
): Promise<Revoked> {
  const authorities = await tx.list();
  const authority = authorities.find((one) => one.id === id);
  if (authority === undefined) throw new CarnetError('not_found', `there is no authority ${id}`);
  checkReplaced(authority, authorities);
  const parent = authorities.find((one) => one.id === authority.parentId);
  if (parent === undefined || !canSignCrl(parent, options.clock()))
    throw new CarnetError(
      'conflict',
      `${authority.parentId}, which signed ${id}, has no key here any more, and signs no CRL: revoke it there`,
    );
  if (!force) await checkNobodyBroken(tx, id);
  await tx.revokeCertificate({
    serial: serialHex(parseCertificate(authority.certificate).serial),
    authorityId: authority.parentId,
    notAfter: authority.notAfter,
    reasonCode,
    reason,
    actor,
  });
  return { denialId: null, count: 1, sequence: await publishCrls(tx, options, new Set([parent.id])) };
}

/** Throws `conflict` for a root, and for an issuing CA that signs or is about to. */
function checkReplaced({ id, kind, state }: StoredAuthority, authorities: readonly StoredAuthority[]): void {
  if (kind === 'root')
    throw new CarnetError(
      'conflict',
      `${id} is a root, which no CRL can revoke: replace it with carnet root taint`,
    );
  if (state === 'prepared' || state === 'published' || signing(authorities, 'issuing')?.id === id)
    throw new CarnetError(
      'conflict',
      `${id} signs now or is about to, and every leaf would be refused: first replace it with carnet root rotate --issuing`,
    );
}

async function checkNobodyBroken(tx: AuthorityTransaction, id: string): Promise<void> {
  const { count, until } = await tx.outstanding([id]);
  if (count === 0) return;
  throw new CarnetError(
    'conflict',
    `${count} certificates of ${id} may still be presented, the last until ${new Date(until ?? 0).toISOString()}, and would be refused until they are renewed: wait, replace them now with carnet root rotate, or break them with --force`,
  );
}

/** New CRLs of these authorities, and the bundle that carries them to everyone. */
async function publishCrls(
  tx: AuthorityTransaction,
  options: RevokeOptions,
  authorityIds: ReadonlySet<string>,
): Promise<number> {
  const previous = new Map((await tx.crls()).map((crl) => [crl.authorityId, crl]));
  const now = options.clock();
  for (const authority of await tx.list()) {
    if (!authorityIds.has(authority.id) || !canSignCrl(authority, now)) continue;
    const entries = await tx.revoked(authority.id);
    const crl = await nextCrl(
      openAuthority(authority, options.keys),
      previous.get(authority.id) ?? null,
      entries,
      now,
      options.backdateSeconds,
    );
    await tx.insertCrl(crl);
  }
  return tx.republishBundle();
}

/** Nothing below one that has ended, or whose key is destroyed, is accepted anyway. */
function canSignCrl({ state, notAfter, sealedKey, keyReference }: StoredAuthority, now: number): boolean {
  return state !== 'retired' && notAfter.getTime() > now && (sealedKey !== null || keyReference !== null);
}
