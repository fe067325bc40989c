import { checkEvidence, EvidenceBundle } from '../audit/evidence.ts';
import { type Cosignature, checkWitnesses } from '../audit/log/cosignature.ts';
import { CarnetError } from '../errors.ts';
import { note, printable, type Terminal, writeJson, writeLine } from './output.ts';
import { readGiven } from './read-given.ts';
import { noteKey } from './verify-database.ts';
import {
  cosignatureBodies,
  describeCosignatures,
  type WitnessFlags,
  witnessPolicyOf,
} from './witness-policy.ts';

export interface VerifyBundleFlags extends WitnessFlags {
  readonly verifierKey?: string;
  readonly json?: boolean;
}

/** Checks a bundle of evidence, and says what it shows and what it does not. Throws what checkEvidence and checkWitnesses do. */
export async function verifyBundle(
  file: string,
  { verifierKey, json, ...flags }: VerifyBundleFlags,
  terminal: Terminal,
): Promise<void> {
  const bundle = parseBundle(file, await readGiven(file));
  const { size } = checkEvidence(bundle, verifierKey?.trim() ?? null);
  const policy = witnessPolicyOf(flags);
  const cosignatures = policy === null ? [] : checkWitnesses(bundle.log.checkpoint, policy);
  if (json === true) writeJson(terminal, { ok: true, size, ...outcomeOf(bundle, cosignatures) });
  else for (const line of linesOf(bundle, size, cosignatures)) writeLine(terminal, printable(line));
  if (bundle.revocation === null)
    note(terminal, 'that it was not revoked is what the server said, and is not shown by the bundle');
  if (verifierKey === undefined) noteKey(terminal, bundle.log.verifier_key);
}

function outcomeOf(
  { issuance, log, rule, revocation }: EvidenceBundle,
  cosignatures: readonly Cosignature[],
) {
  return {
    serial: issuance.serial,
    identity: issuance.identity,
    index: log.index,
    rule: rule && { id: rule.id, version: rule.version, written_by: rule.written_by, index: rule.log.index },
    revocation: revocation && { revoked_at: revocation.revoked_at, index: revocation.log.index },
    cosignatures: cosignatureBodies(cosignatures),
  };
}

function* linesOf(
  { issuance, log, rule, revocation }: EvidenceBundle,
  size: number,
  cosignatures: readonly Cosignature[],
): Generator<string> {
  yield `${issuance.serial} (${issuance.identity}) is entry ${log.index} of the log's first ${size}, as the bundle says`;
  if (rule !== null)
    yield `granted by ${rule.id} version ${rule.version}, which ${rule.written_by} wrote at ${rule.written_at}: entry ${rule.log.index}`;
  if (revocation !== null)
    yield `revoked by ${revocation.actor} at ${revocation.revoked_at} (${revocation.reason_code}): entry ${revocation.log.index}`;
  if (cosignatures.length > 0) yield `these are cosigned by ${describeCosignatures(cosignatures)}`;
}

function parseBundle(file: string, text: string): EvidenceBundle {
  try {
    return EvidenceBundle.parse(JSON.parse(text));
  } catch (error) {
    throw new CarnetError('invalid_argument', `${file} is not a bundle of evidence`, { cause: error });
  }
}
