import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { toHex } from '../x509/bytes.ts';
import { timestampOf } from './cursor.ts';
import { openCheckpoint } from './log/checkpoint.ts';
import { decodeEntry } from './log/entry.ts';
import { leafHash } from './log/merkle.ts';
import { parseVerifierKey } from './log/note.ts';
import { checkInclusion, type Tree } from './log/proof.ts';
import { decodeTexts, decodeTimestamp } from './log/record-values.ts';

/** The issuance in the words of GET /v1/issuances/{serial}; what else that says is kept beside. */
const Issuance = z.looseObject({
  serial: z.string(),
  identity: z.string(),
  dns_names: z.array(z.string()),
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
  certificate: z.string().nullable(),
  evidence: z.record(z.string(), z.unknown()).nullable(),
});

/** All that shows that one certificate is in the log, in one file. */
export const EvidenceBundle = z.strictObject({
  format: z.literal('carnet-evidence-1'),
  issuance: Issuance,
  log: z.strictObject({
    verifier_key: z.string(),
    checkpoint: z.string(),
    index: z.int(),
    entry: z.base64(),
    inclusion_proof: z.array(z.base64()),
  }),
  /** The command that checks it. */
  check: z.string(),
});
export type EvidenceBundle = z.output<typeof EvidenceBundle>;

/**
 * Checks a bundle by itself: the checkpoint's signature, by `pinnedKey` or else by the key that the bundle names; that
 * the entry is in its tree; and that the issuance is what the entry says. Returns that tree. Throws
 * `invalid_argument` for a bundle that is malformed, `conflict` for one that does not hold.
 */
export function checkEvidence({ issuance, log }: EvidenceBundle, pinnedKey: string | null): Tree {
  const tree = openCheckpoint(log.checkpoint, parseVerifierKey(pinnedKey ?? log.verifier_key));
  const entry = Buffer.from(log.entry, 'base64');
  const proof = log.inclusion_proof.map((hash) => Buffer.from(hash, 'base64'));
  if (!checkInclusion(log.index, leafHash(entry), tree, proof))
    throw new CarnetError(
      'conflict',
      `the entry is not at ${log.index} of the tree that the checkpoint signs`,
    );
  const { kind, columns } = decodeEntry(entry);
  if (kind !== 'issuance' || columns === null)
    throw new CarnetError('conflict', 'the entry does not tell of an issuance, or has only its digest');
  for (const [name, said, logged] of comparisons(issuance, columns))
    if (!isDeepStrictEqual(said, logged))
      throw new CarnetError('conflict', `${name} of the issuance is not what the log has`);
  return tree;
}

type Comparison = readonly [name: string, said: unknown, logged: unknown];

function comparisons(
  issuance: EvidenceBundle['issuance'],
  columns: ReadonlyMap<string, Uint8Array | null>,
): Comparison[] {
  const bytes = (name: string): Buffer | null => {
    const value = columns.get(name) ?? null;
    return value === null ? null : Buffer.from(value);
  };
  const text = (name: string): string | null => bytes(name)?.toString('utf8') ?? null;
  const hex = (name: string): string => toHex(bytes(name) ?? new Uint8Array());
  const micros = (name: string): bigint => decodeTimestamp(bytes(name) ?? Buffer.alloc(8));
  const evidence = text('evidence');
  return [
    ['serial', issuance.serial, hex('serial')],
    ['identity', issuance.identity, text('identity')],
    ['dns_names', issuance.dns_names, decodeTexts(bytes('dns_names') ?? Buffer.alloc(0))],
    ['not_before', millisOf(issuance.not_before), micros('not_before') / 1000n],
    ['not_after', millisOf(issuance.not_after), micros('not_after') / 1000n],
    ['recorded_at', issuance.recorded_at, timestampOf(micros('recorded_at'))],
    ['profile', issuance.profile, text('profile')],
    ['authority', issuance.authority, text('authority_id')],
    ['node', issuance.node, text('node')],
    ['instance', issuance.instance, text('instance')],
    ['entry', issuance.entry, text('entry_id')],
    ['entry_version', issuance.entry_version, bytes('entry_version')?.readInt32BE() ?? null],
    ['requester', issuance.requester, text('requester')],
    ['public_key_sha256', issuance.public_key_sha256, hex('public_key_sha256')],
    ['certificate_sha256', issuance.certificate_sha256, hex('certificate_sha256')],
    [
      'certificate',
      derOf(issuance.certificate),
      issuance.certificate && bytes('certificate')?.toString('base64'),
    ],
    ['evidence', issuance.evidence, evidence === null ? null : JSON.parse(evidence)],
  ];
}

/** Base64 without the lines around it and in it; null for a JWT-SVID, which has no certificate. */
function derOf(pem: string | null): string | null {
  return pem?.replaceAll(/-----[A-Z ]+-----|\s/g, '') ?? null;
}

function millisOf(time: string): bigint | null {
  const millis = Date.parse(time);
  return Number.isNaN(millis) ? null : BigInt(millis);
}
