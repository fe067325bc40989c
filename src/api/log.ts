import { z } from 'zod';
import { formatWitnessKey } from '../audit/log/cosignature.ts';
import { encodeEntryBundle } from '../audit/log/entry-bundle.ts';
import { formatVerifierKey } from '../audit/log/note.ts';
import { proveInclusion } from '../audit/log/proof.ts';
import { TILE_HEIGHT, TILE_WIDTH } from '../audit/log/subtree.ts';
import { parseTilePath, type TilePath } from '../audit/log/tile-path.ts';
import { verifierOf } from '../audit/log-key.ts';
import type { LogReader, SignedTree, StoredLogKey } from '../audit/log-store.ts';
import type { WitnessState } from '../audit/witness.ts';
import { CarnetError } from '../errors.ts';
import { Time, timeText } from './fields.ts';
import { defineRoute, type Route } from './route.ts';

/** What is at such a path never changes: a wider partial tile has another path. */
const FOR_EVER_SECONDS = 31_536_000;
const KEY_SECONDS = 86_400;
const TEXT = 'text/plain; charset=utf-8';
const BYTES = 'application/octet-stream';

const Base64 = z.string().meta({ description: 'Base64' });
const Bytes = z.unknown().meta({ description: 'Bytes (C2SP tlog-tiles)' });

const WitnessBody = z
  .strictObject({
    id: z.string().meta({ description: "Its key's name and ID" }),
    verifier_key: z.string().meta({ description: 'C2SP tlog-cosignature' }),
    url: z.string(),
    size: z.int().meta({ description: 'Of the latest checkpoint that it cosigned; 0 before the first' }),
    cosigned_at: Time.nullable(),
    behind_since: Time.nullable().meta({
      description: 'Since when a later checkpoint waits for its cosignature; null for none',
    }),
    problem: z
      .strictObject({
        code: z.string().meta({
          description:
            'unreachable, unknown_log, refused, bad_answer; ahead and forked say that the log is not what it was',
        }),
        reason: z.string(),
        since: Time,
      })
      .nullable()
      .meta({ description: 'Why it does not cosign now; null while it does' }),
  })
  .meta({ id: 'Witness' });

const LogState = z
  .strictObject({
    origin: z.string().meta({ description: "The log's name" }),
    verifier_key: z.string().meta({ description: 'C2SP signed-note' }),
    size: z.int(),
    root: Base64.nullable().meta({ description: 'Null before the first entry' }),
    waiting_since: Time.nullable().meta({
      description: 'When the oldest record that is not in the log yet was made; null for none',
    }),
    published_size: z.int().meta({ description: 'Of the checkpoint at /log/checkpoint' }),
    witness_quorum: z.int().meta({ description: 'How many witnesses cosign a checkpoint to be published' }),
    witnesses: z.array(WitnessBody),
  })
  .meta({ id: 'Log' });

const PROOF_FIELDS = {
  index: z.int(),
  entry: Base64.meta({ description: 'What is in the log, byte by byte as docs/AUDIT.md says' }),
  inclusion_proof: z.array(Base64).meta({ description: 'Hashes, lowest first (RFC 6962 §2.1.1)' }),
};
const Checkpoint = z.string().meta({ description: 'A signed note (C2SP tlog-checkpoint)' });

/** Where an issuance is in the log, and the proof of it. */
export const Logged = z.strictObject({ ...PROOF_FIELDS, checkpoint: Checkpoint }).meta({ id: 'Logged' });

const LogProof = z.strictObject(PROOF_FIELDS).meta({ id: 'LogProof' });

/** The entries that tell of an issuance, in one tree. */
export const Evidence = z
  .strictObject({
    verifier_key: z.string().meta({ description: 'C2SP signed-note' }),
    checkpoint: Checkpoint,
    issuance: LogProof,
    rule: LogProof.nullable().meta({
      description: 'The operator event that wrote the registration entry as it was; null for none',
    }),
    revocation: LogProof.nullable().meta({ description: 'Null for one that is not revoked' }),
  })
  .meta({ id: 'Evidence' });

export type LogBody = z.output<typeof LogState>;
export type LoggedBody = z.output<typeof Logged>;
export type EvidenceBody = z.output<typeof Evidence>;

/**
 * The log as C2SP tlog-tiles lays it out, below /log. Checkpoints, hashes and the key are for everybody: they tell how
 * much there is, and nothing of what it says. Entries hold identities and evidence, and are for auditors.
 */
export function logRoutes(log: LogReader): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/log',
      name: 'getLog',
      access: 'reader',
      summary: 'Show the state of the log',
      response: LogState,
      handle: async () => {
        const { origin, ...key } = await keyOf(log);
        const head = await log.head();
        const waiting = await log.waitingSince();
        return {
          origin,
          verifier_key: formatVerifierKey(verifierOf({ origin, ...key })),
          size: head?.size ?? 0,
          root: head && base64(head.root),
          waiting_since: waiting && timeText(waiting),
          published_size: (await log.published())?.size ?? 0,
          witness_quorum: log.quorum,
          witnesses: (await log.witnesses()).map(witnessBody),
        };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/log/checkpoint',
      name: 'getCheckpoint',
      access: 'public',
      summary: 'Get the latest checkpoint of the log',
      description:
        'A signed note (C2SP tlog-checkpoint, signed-note), with cosignatures of witnesses (C2SP tlog-cosignature).',
      response: z.string(),
      mediaType: TEXT,
      handle: async () => present(await log.published()).note,
    }),
    defineRoute({
      method: 'GET',
      path: '/log/vkey',
      name: 'getVerifierKey',
      access: 'public',
      summary: "Get the key that the log's checkpoints are verified by",
      description:
        'C2SP signed-note. Whoever gets it from here trusts this server: keep it from the first day on.',
      response: z.string(),
      mediaType: TEXT,
      cacheSeconds: KEY_SECONDS,
      handle: async () => `${formatVerifierKey(verifierOf(await keyOf(log)))}\n`,
    }),
    defineRoute({
      method: 'GET',
      path: '/log/tile/entries/{tile}',
      name: 'getEntryBundle',
      access: 'auditor',
      evidence: true,
      summary: 'Get a bundle of entries of the log',
      description: '`tile` goes over slashes: `x001/067`, `000.p/12` (C2SP tlog-tiles).',
      params: z.strictObject({ tile: z.string() }),
      restOfPath: true,
      response: Bytes,
      mediaType: BYTES,
      handle: async ({ params: { tile } }) => {
        const { start, count } = await extentOf(log, parseTilePath(`entries/${tile}`));
        return encodeEntryBundle(await log.entries(start, start + count));
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/log/tile/{level}/{tile}',
      name: 'getTile',
      access: 'public',
      summary: 'Get a tile of hashes of the log',
      description: '`tile` goes over slashes: `x001/067`, `000.p/12` (C2SP tlog-tiles).',
      params: z.strictObject({ level: z.string().regex(/^\d$/), tile: z.string() }),
      restOfPath: true,
      response: Bytes,
      mediaType: BYTES,
      cacheSeconds: FOR_EVER_SECONDS,
      handle: async ({ params: { level, tile } }) => {
        const [hashes = []] = await log.readNodes([await extentOf(log, parseTilePath(`${level}/${tile}`))]);
        return Buffer.concat(hashes);
      },
    }),
  ];
}

/** What shows that an issuance is in the log, why it was given and what ended it; null until it is in the log. */
export async function evidenceBody(log: LogReader, serial: string): Promise<z.input<typeof Evidence> | null> {
  const places = await log.findEvidence(serial);
  if (places === null) return null;
  const { issuance, rule, revocation } = places;
  const tree = await treeWith(log, Math.max(issuance, rule ?? 0, revocation ?? 0));
  if (tree === null) return null;
  const proofOf = (index: number | null) => (index === null ? null : proofBody(log, index, tree.size));
  const issued = await proofOf(issuance);
  return (
    issued && {
      verifier_key: formatVerifierKey(verifierOf(await keyOf(log))),
      checkpoint: tree.note,
      issuance: issued,
      rule: await proofOf(rule),
      revocation: await proofOf(revocation),
    }
  );
}

/** Null for an issuance that is in no checkpoint yet. */
export async function loggedBody(log: LogReader, serial: string): Promise<z.input<typeof Logged> | null> {
  const index = await log.findIssuance(serial);
  const tree = index === null ? null : await treeWith(log, index);
  if (index === null || tree === null) return null;
  const proof = await proofBody(log, index, tree.size);
  return proof && { ...proof, checkpoint: tree.note };
}

async function proofBody(
  log: LogReader,
  index: number,
  size: number,
): Promise<z.input<typeof LogProof> | null> {
  const [entry] = await log.entries(index, index + 1);
  if (entry === undefined) return null;
  const proof = await proveInclusion(index, size, log.readNodes);
  return { index, entry: base64(entry), inclusion_proof: proof.map(base64) };
}

/** A checkpoint that witnesses cosigned is worth more than a later one. */
async function treeWith(log: LogReader, index: number): Promise<SignedTree | null> {
  const witnessed = await log.witnessed();
  return witnessed !== null && witnessed.size > index ? witnessed : log.head();
}

function witnessBody({ id, key, url, size, cosignedAt, behindSince, problem }: WitnessState) {
  return {
    id,
    verifier_key: formatWitnessKey(key),
    url,
    size,
    cosigned_at: cosignedAt && timeText(cosignedAt),
    behind_since: behindSince && timeText(behindSince),
    problem: problem && { ...problem, since: timeText(problem.since) },
  };
}

/** Throws `not_found` for what goes beyond the latest checkpoint. */
async function extentOf(
  log: LogReader,
  { level, index, width }: TilePath,
): Promise<{ level: number; start: number; count: number }> {
  const { size } = await headOf(log);
  const height = level === 'entries' ? 0 : level;
  const start = index * TILE_WIDTH;
  if (start + width > Math.floor(size / 2 ** (height * TILE_HEIGHT)))
    throw new CarnetError('not_found', `the log has ${size} entries, and so not this tile`);
  return { level: height, start, count: width };
}

async function headOf(log: LogReader): Promise<SignedTree> {
  return present(await log.head());
}

function present(tree: SignedTree | null): SignedTree {
  if (tree === null) throw new CarnetError('not_found', 'the log has no checkpoint yet');
  return tree;
}

async function keyOf(log: LogReader): Promise<StoredLogKey> {
  const key = await log.key();
  if (key === null) throw new CarnetError('not_found', 'the log has not begun yet');
  return key;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
