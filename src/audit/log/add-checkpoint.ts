import type { Hash } from './merkle.ts';

/** What a witness is asked for: to cosign `note`, whose tree begins with the `oldSize` entries that it knows. */
export interface AddCheckpoint {
  readonly oldSize: number;
  /** PROOF(oldSize, D[n]) of RFC 6962 §2.1.2; none where the sizes are equal, or the old one is 0. */
  readonly proof: readonly Hash[];
  readonly note: string;
}

/** Why a witness does not cosign. `ahead` and `forked` say that the log is not what it was. */
export type WitnessFault = 'unreachable' | 'unknown_log' | 'refused' | 'bad_answer' | 'ahead' | 'forked';

/** What a witness answers (C2SP tlog-witness, "add-checkpoint"). */
export type WitnessAnswer =
  | { readonly kind: 'cosigned'; readonly lines: string }
  /** It knows a checkpoint of another size than `oldSize`. */
  | { readonly kind: 'knows'; readonly size: number }
  | { readonly kind: 'failed'; readonly fault: WitnessFault; readonly reason: string };

/** What else it says is worth quoting up to here. */
const MAX_QUOTED = 200;

/** The body of the request. */
export function encodeAddCheckpoint({ oldSize, proof, note }: AddCheckpoint): string {
  const hashes = proof.map((hash) => `${Buffer.from(hash).toString('base64')}\n`);
  return `old ${oldSize}\n${hashes.join('')}\n${note}`;
}

/** Nothing of it is verified yet. */
export function readAnswer(status: number, body: string): WitnessAnswer {
  if (status === 200) return { kind: 'cosigned', lines: body };
  if (status === 409) return knownSize(body);
  const [fault, what] = FAULTS.get(status) ?? faultOf(status);
  const quoted = body.trim() === '' ? '' : `: ${JSON.stringify(body.trim().slice(0, MAX_QUOTED))}`;
  return { kind: 'failed', fault, reason: `${what} (${status}${quoted})` };
}

const FAULTS: ReadonlyMap<number, readonly [WitnessFault, string]> = new Map([
  [400, ['refused', 'it takes the request for malformed']],
  [403, ['refused', "it has another key for this log: give its operator the one that's at /log/vkey"]],
  [404, ['unknown_log', 'it does not know this log: give its operator the key at /log/vkey']],
  [422, ['forked', 'it cosigned another tree of this log before, which this one does not begin with']],
  [429, ['unreachable', 'it is asked too often: see --witness-interval']],
]);

function faultOf(status: number): readonly [WitnessFault, string] {
  if (status >= 500) return ['unreachable', 'it fails'];
  if (status >= 300 && status < 400) return ['bad_answer', 'it redirects, which is not followed'];
  return ['bad_answer', 'its answer is none of the protocol'];
}

function knownSize(body: string): WitnessAnswer {
  const size = /^(0|[1-9]\d{0,15})\n$/.exec(body)?.[1];
  if (size === undefined || !Number.isSafeInteger(Number(size)))
    return { kind: 'failed', fault: 'bad_answer', reason: 'it does not say which size it knows (409)' };
  return { kind: 'knows', size: Number(size) };
}
