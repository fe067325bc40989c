import type { AuthorityStore, AuthorityTransaction, StoredAuthority } from '../ca/authority-store.ts';
import { nextCrl } from '../ca/crl.ts';
import type { KeyStore } from '../ca/key-store.ts';
import { openAuthority } from '../ca/open-authority.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
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

/** A replica that has not heard of a denial may go on issuing for moments: so long it is looked after. */
const SWEEP_MS = 2 * 60_000;

/**
 * Revokes, in one transaction: what fits is denied from then on, what was issued to it and is still valid is in the
 * CRLs of its authorities, and these are in the bundle that every proxy is sent. Throws `not_found`, `conflict` for
 * an authority that signs now.
 */
export function revoke(options: RevokeOptions, request: RevokeRequest): Promise<Revoked> {
  const { target, reasonCode, reason, actor } = request;
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
      after: { ...target, reason_code: reasonCode, certificates: result.count },
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

/**
 * Revokes what was issued against a young denial by a replica that had not heard of it. Resolves to how many
 * certificates that were: to be called every second.
 */
export async function sweep(options: RevokeOptions, youngSince: number): Promise<number> {
  if (options.clock() - youngSince > SWEEP_MS) return 0;
  return options.store.transact(async (tx) => {
    const authorities = new Set<string>();
    let count = 0;
    for (const denial of await tx.denials()) {
      if (options.clock() - denial.createdAt.getTime() > SWEEP_MS) continue;
      const found = await tx.revokeMatching(denial.id, 'unspecified');
      for (const { authorityId } of found) authorities.add(authorityId);
      count += found.length;
    }
    if (count > 0) await publishCrls(tx, options, authorities);
    return count;
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
  { reasonCode, reason, actor }: RevokeRequest,
  id: string,
): Promise<Revoked> {
  const authority = (await tx.list()).find((one) => one.id === id);
  if (authority === undefined) throw new CarnetError('not_found', `there is no authority ${id}`);
  if (authority.kind === 'root')
    throw new CarnetError(
      'conflict',
      `${id} is a root, which no CRL can revoke: replace it with carnet root taint`,
    );
  if (authority.state === 'active')
    throw new CarnetError(
      'conflict',
      `${id} signs now, and every leaf would be refused: first replace it with carnet root rotate --issuing`,
    );
  await tx.revokeCertificate({
    serial: serialHex(parseCertificate(authority.certificate).serial),
    authorityId: authority.parentId,
    notAfter: authority.notAfter,
    reasonCode,
    reason,
    actor,
  });
  return {
    denialId: null,
    count: 1,
    sequence: await publishCrls(tx, options, new Set([authority.parentId])),
  };
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
    const signing = openAuthority(authority, options.keys);
    const crl = await nextCrl(
      signing,
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
