import { CarnetError } from '../errors.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { type CrlEntry, type CrlFields, encodeCrl, encodeTbsCertList } from '../x509/crl.ts';
import { parsePublicKey } from '../x509/public-key.ts';
import { findSignatureAlgorithm, verifySignature } from '../x509/signature-algorithm.ts';
import type { SigningAuthority } from './authority.ts';
import type { StoredCrl } from './authority-store.ts';

/** About 2 MiB, which goes to every proxy; of leaves that live an hour there are rarely as many to revoke. */
const MAX_ENTRIES = 50_000;

/**
 * The authority's CRL behind `previous` (null: its first), ready to be stored and published. It ends with the
 * authority itself, so that it outlives all that it covers without a control plane to renew it: a verifier refuses
 * every chain whose CRL is over. It begins `backdateSeconds` before `now` (milliseconds since the epoch), as
 * certificates do, for verifiers whose clocks are slow. Its number is the seconds since the epoch, or else the next one:
 * so none is used twice after an older backup was restored, which no longer knows the last (RFC 5280 §5.2.3).
 *
 * Throws `authority_unavailable` for an authority that has ended, `conflict` for too many entries, and
 * `certificate_lint_failed` where the signature is not the authority's.
 */
export async function nextCrl(
  authority: SigningAuthority,
  previous: StoredCrl | null,
  entries: readonly CrlEntry[],
  now: number,
  backdateSeconds: number,
): Promise<StoredCrl> {
  const thisUpdate = new Date(now - backdateSeconds * 1000);
  const nextUpdate = authority.notAfter;
  const number = Math.max((previous?.number ?? 0) + 1, Math.floor(now / 1000));
  if (now >= nextUpdate.getTime())
    throw new CarnetError(
      'authority_unavailable',
      `authority ${authority.id} ended at ${nextUpdate.toISOString()} and signs no CRL any more`,
    );
  if (entries.length > MAX_ENTRIES)
    throw new CarnetError(
      'conflict',
      `authority ${authority.id} would have ${entries.length} certificates revoked, and a CRL holds ${MAX_ENTRIES}: rotate and taint the authority instead`,
    );
  const crl = await signCrl(authority, { number, thisUpdate, nextUpdate, entries });
  return { authorityId: authority.id, number, crl, thisUpdate, nextUpdate };
}

type OwnFields = Pick<CrlFields, 'number' | 'thisUpdate' | 'nextUpdate' | 'entries'>;

async function signCrl(authority: SigningAuthority, fields: OwnFields): Promise<Uint8Array> {
  const { subject, subjectKeyIdentifier, spki } = parseCertificate(authority.certificate);
  const { signer } = authority;
  const tbs = encodeTbsCertList({
    ...fields,
    signatureAlgorithm: signer.signatureAlgorithm,
    issuer: subject,
    authorityKeyIdentifier: subjectKeyIdentifier?.value ?? new Uint8Array(),
  });
  const signature = await signer.sign(tbs);
  const algorithm = findSignatureAlgorithm(signer.signatureAlgorithm);
  // A CRL that doesn't verify has every chain refused: better none at all.
  if (algorithm === undefined || !(await verifySignature(algorithm, parsePublicKey(spki), tbs, signature)))
    throw new CarnetError(
      'certificate_lint_failed',
      `authority ${authority.id} does not verify the CRL that it signed; it is not used`,
    );
  return encodeCrl(signer.signatureAlgorithm, tbs, signature);
}
