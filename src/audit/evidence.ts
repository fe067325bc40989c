import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { readIssuance, readRevocation, readRule } from './evidence-sections.ts';
import { openCheckpoint } from './log/checkpoint.ts';
import { decodeEntry, type EntryKind } from './log/entry.ts';
import { leafHash } from './log/merkle.ts';
import { parseVerifierKey } from './log/note.ts';
import { checkInclusion, type Tree } from './log/proof.ts';

/** An entry, byte by byte, and the proof that the checkpoint covers it. */
const LogProof = z.strictObject({
  index: z.int(),
  entry: z.base64(),
  inclusion_proof: z.array(z.base64()),
});
export type LogProof = z.output<typeof LogProof>;

const Texts = z.array(z.string());

/** What the entry of the issuance says. */
const Issuance = z.strictObject({
  serial: z.string(),
  identity: z.string(),
  dns_names: Texts,
  not_before: z.string(),
  not_after: z.string(),
  recorded_at: z.string(),
  profile: z.string(),
  authority: z.string(),
  node: z.string().nullable(),
  instance: z.string().nullable(),
  entry: z.string().nullable(),
  entry_version: z.int().nullable(),
  requester: z.string(),
  public_key_sha256: z.string(),
  certificate_sha256: z.string(),
  /** PEM; null for a JWT-SVID. */
  certificate: z.string().nullable(),
  /** Of a JWT-SVID what was signed, its header and its claims as they are sent; null for a certificate. */
  token: z.string().nullable(),
  evidence: z.record(z.string(), z.unknown()).nullable(),
});

/** The registration entry as it was, and who wrote that: what the entry of the operator event says. */
const Rule = z.strictObject({
  id: z.string(),
  version: z.int(),
  spiffe_id: z.string(),
  selectors: Texts,
  dns_names: Texts,
  ttl: z.string().nullable(),
  hint: z.string().nullable(),
  federates_with: Texts,
  action: z.string(),
  written_by: z.string(),
  written_at: z.string(),
  reason: z.string(),
  log: LogProof,
});

/** What the entry of the revocation says. */
const Revocation = z.strictObject({
  revoked_at: z.string(),
  reason_code: z.string(),
  reason: z.string(),
  actor: z.string(),
  authority: z.string(),
  log: LogProof,
});

/** All that shows that one certificate is in the log, why it was given and what ended it, in one file. */
export const EvidenceBundle = z.strictObject({
  format: z.literal('carnet-evidence-1'),
  issuance: Issuance,
  log: z.strictObject({ verifier_key: z.string(), checkpoint: z.string(), ...LogProof.shape }),
  /** Null for what no entry granted, such as a CA certificate. */
  rule: Rule.nullable(),
  /** Null where the server knew of none: which is its word, and no proof. */
  revocation: Revocation.nullable(),
  /** The command that checks it. */
  check: z.string(),
});
export type EvidenceBundle = z.output<typeof EvidenceBundle>;

/** What a server answers: each entry that matters, and the checkpoint that covers them. */
export interface LoggedEvidence {
  readonly verifier_key: string;
  readonly checkpoint: string;
  readonly issuance: LogProof;
  readonly rule: LogProof | null;
  readonly revocation: LogProof | null;
}

/** Puts in words what the entries say. Throws `conflict` for one that does not tell of what it is given for. */
export function buildEvidence(logged: LoggedEvidence, check: string): EvidenceBundle {
  const { verifier_key, checkpoint, issuance, rule, revocation } = logged;
  return {
    format: 'carnet-evidence-1',
    issuance: readIssuance(columnsOf(issuance, 'issuance')),
    log: { verifier_key, checkpoint, ...issuance },
    rule: rule && { ...readRule(columnsOf(rule, 'operator_event')), log: rule },
    revocation: revocation && {
      ...readRevocation(columnsOf(revocation, 'revocation')).told,
      log: revocation,
    },
    check,
  };
}

/**
 * Checks a bundle by itself: the checkpoint's signature, by `pinnedKey` or else by the key that it names; that
 * each entry is in its tree; and that all that the bundle says is what the entries say, and that these are of one certificate. Throws
 * `invalid_argument` for a bundle that is malformed, `conflict` for one that does not hold.
 */
export function checkEvidence(bundle: EvidenceBundle, pinnedKey: string | null): Tree {
  const { issuance, log, rule, revocation } = bundle;
  const { verifier_key, checkpoint, ...proof } = log;
  const tree = openCheckpoint(checkpoint, parseVerifierKey(pinnedKey ?? verifier_key));
  const issued = readIssuance(openProof(proof, tree, 'issuance'));
  compare('issuance', issuance, issued);
  checkRule(issued, rule, tree);
  if (rule !== null && rule.log.index >= log.index)
    throw wrong('the rule was written after what it is said to have granted');
  if (revocation !== null) {
    const { log: revoked, ...said } = revocation;
    const { serial, told } = readRevocation(openProof(revoked, tree, 'revocation'));
    compare('revocation', said, told);
    if (serial !== issued.serial) throw wrong(`the revocation is of ${serial}, not of ${issued.serial}`);
    if (revoked.index <= log.index) throw wrong('the revocation was recorded before what it revokes');
  }
  return tree;
}

function checkRule(
  { entry, entry_version: version }: Pick<EvidenceBundle['issuance'], 'entry' | 'entry_version'>,
  rule: EvidenceBundle['rule'],
  tree: Tree,
): void {
  if (rule === null) {
    if (entry !== null) throw wrong(`the rule that granted it, ${entry} version ${version}, is left out`);
    return;
  }
  const { log, ...said } = rule;
  const told = readRule(openProof(log, tree, 'operator_event'));
  compare('rule', said, told);
  if (told.id !== entry || told.version !== version)
    throw wrong(
      `the rule is ${told.id} version ${told.version}, and what granted it ${entry} version ${version}`,
    );
}

function compare(what: string, said: object, told: object): void {
  for (const [name, value] of Object.entries(told))
    if (!isDeepStrictEqual((said as Record<string, unknown>)[name], value))
      throw wrong(`${name} of the ${what} is not what the log has`);
}

/** The columns of an entry, once the tree is shown to have it. */
function openProof(proof: LogProof, tree: Tree, kind: EntryKind): ReadonlyMap<string, Uint8Array | null> {
  const hashes = proof.inclusion_proof.map((hash) => Buffer.from(hash, 'base64'));
  if (!checkInclusion(proof.index, leafHash(Buffer.from(proof.entry, 'base64')), tree, hashes))
    throw wrong(`the entry of the ${kind} is not at ${proof.index} of the tree that the checkpoint signs`);
  return columnsOf(proof, kind);
}

function columnsOf({ entry }: LogProof, kind: EntryKind): ReadonlyMap<string, Uint8Array | null> {
  const { kind: found, columns } = decodeEntry(Buffer.from(entry, 'base64'));
  if (found !== kind || columns === null)
    throw wrong(`the entry does not tell of an ${kind.replace('_', ' ')}, or has only its digest`);
  return columns;
}

function wrong(message: string): CarnetError {
  return new CarnetError('conflict', message);
}
