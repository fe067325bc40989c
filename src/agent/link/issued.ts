import type { IssuedSvid, IssueRequest } from '../../ca/issue-request.ts';
import { CarnetError } from '../../errors.ts';
import type { Issued, Refused, Wanted } from '../../gen/carnet/agent/v1/agent.ts';
import { isErrorCode } from '../../grpc/status.ts';
import { csrSpki } from '../../x509/csr.ts';
import { serialHex } from '../../x509/serial.ts';
import { checkChain } from './check-chain.ts';

/** What a server is asked for: the workload as it was attested here, and the entry that grants it. */
export function wantedOf(request: IssueRequest): Wanted {
  return { csr: requestBytes(request.csr), ...workloadOf(request) };
}

/** The part that says for whom. */
export function workloadOf({ grant, attestation }: Pick<IssueRequest, 'grant' | 'attestation'>) {
  return {
    entryId: grant.entryId ?? '',
    spiffeId: grant.spiffeId,
    instance: attestation.instance,
    selectors: [...attestation.selectors],
    evidence: JSON.stringify(attestation.evidence),
  };
}

/** What the server made of it, checked against `roots` (DER). Throws `certificate_lint_failed`, `unavailable`. */
export async function checkIssued(
  { chain, authority, entryVersion }: Issued,
  { csr, grant }: IssueRequest,
  roots: readonly Uint8Array[],
  now: number,
): Promise<IssuedSvid> {
  if (entryVersion < (grant.entryVersion ?? 0))
    throw new CarnetError(
      'unavailable',
      `the server has not read version ${grant.entryVersion} of entry ${grant.entryId} yet`,
    );
  const spki = csrSpki(requestBytes(csr));
  const leaf = await checkChain(chain, { identity: grant.spiffeId, spki, roots, now });
  const { notBefore, notAfter } = leaf;
  return { identity: grant.spiffeId, serial: serialHex(leaf.serial), chain, notBefore, notAfter, authority };
}

/** What a server has against one certificate or token. */
export function refusalOf(refused: Partial<Refused> | undefined): CarnetError {
  const { code = '', message = 'the server gave no answer' } = refused ?? {};
  return new CarnetError(isErrorCode(code) ? code : 'internal', message);
}

/** An agent makes its keys itself, and so its requests. */
function requestBytes(csr: IssueRequest['csr']): Uint8Array {
  if (csr instanceof Uint8Array) return csr;
  throw new CarnetError('internal', 'an agent asks by PKCS#10 only');
}
