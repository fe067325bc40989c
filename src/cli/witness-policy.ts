import type { Command } from 'commander';
import {
  type Cosignature,
  parseWitnessKey,
  type WitnessPolicy,
  witnessId,
} from '../audit/log/cosignature.ts';
import { CarnetError } from '../errors.ts';
import { collect } from './operator.ts';

export interface WitnessFlags {
  readonly witness: readonly string[];
  readonly witnessQuorum?: string;
}

/** Whom an auditor believes: given with the keys that he has from the witnesses themselves. */
export function addWitnessFlags(command: Command): Command {
  return command
    .option(
      '--witness <VKEY>',
      'a witness that must have cosigned the checkpoint, by its verifier key; may be given several times',
      collect,
      [],
    )
    .option('--witness-quorum <N>', 'how many of them are enough (default: all)');
}

/** Null where no witness is asked for. Throws `config_invalid`, `invalid_argument`. */
export function witnessPolicyOf({ witness, witnessQuorum }: WitnessFlags): WitnessPolicy | null {
  const witnesses = witness.map((vkey) => parseWitnessKey(vkey.trim()));
  if (witnesses.length === 0 && witnessQuorum === undefined) return null;
  const keys = witnesses.map(({ publicKey }) => Buffer.from(publicKey).toString('hex'));
  if (new Set(keys).size < keys.length)
    throw new CarnetError('config_invalid', 'two witnesses have the same key: one of them would count twice');
  const quorum = witnessQuorum === undefined ? witnesses.length : Number(witnessQuorum);
  if (!Number.isInteger(quorum) || quorum < 1 || quorum > witnesses.length)
    throw new CarnetError(
      'config_invalid',
      `--witness-quorum is from 1 to the number of witnesses that are given, ${witnesses.length}`,
    );
  return { witnesses, quorum };
}

/** `witness.example/w1+aa4a09d1 at 2026-11-23T08:57:23.000Z, …` */
export function describeCosignatures(cosignatures: readonly Cosignature[]): string {
  return cosignatures
    .map(({ witness, signedAt }) => `${witnessId(witness)} at ${timeOf(signedAt)}`)
    .join(', ');
}

/** For one who reads JSON. */
export function cosignatureBodies(cosignatures: readonly Cosignature[]) {
  return cosignatures.map(({ witness, signedAt }) => ({
    witness: witnessId(witness),
    signed_at: timeOf(signedAt),
  }));
}

/** The clock of a witness can say what it likes. */
function timeOf(seconds: number): string {
  const time = new Date(seconds * 1000);
  return Number.isNaN(time.getTime()) ? `${seconds} s` : time.toISOString();
}
