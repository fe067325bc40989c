import type { LogBody } from '../api/log.ts';
import { type Finding, finding } from './diagnose.ts';
import { relativeTime } from './times.ts';

type WitnessBody = LogBody['witnesses'][number];

/** Witnesses are asked once a minute at least (--witness-interval), and answer within ten seconds. */
const SLOW_WITNESS_MS = 120_000;
const ALARMS: readonly string[] = ['ahead', 'forked'];

/** A line for each witness, and one where too few of them cosign for anything to be published. */
export function diagnoseWitnesses(
  { size, published_size, witness_quorum, witnesses }: LogBody,
  now: number,
): Finding[] {
  const findings = witnesses.map((witness) => diagnoseWitness(witness, now));
  const keepingUp = findings.filter(({ level }) => level === 'ok').length;
  if (keepingUp >= witness_quorum) return findings;
  return [
    ...findings,
    finding(
      'log',
      'fail',
      `${keepingUp} witnesses cosign, ${witness_quorum} are needed: what is published has ${published_size} of ${size} entries`,
      'mend the witnesses, or start the servers with a smaller --witness-quorum',
    ),
  ];
}

function diagnoseWitness(
  { id, size, cosigned_at, behind_since, problem }: WitnessBody,
  now: number,
): Finding {
  if (problem !== null && ALARMS.includes(problem.code))
    return finding(
      'log',
      'fail',
      `witness ${id}, since ${problem.since}: ${problem.reason}`,
      'keep everything as it is, and see A witness raises the alarm in docs/OPERATIONS.md',
    );
  const last =
    cosigned_at === null
      ? `witness ${id} never cosigned`
      : `witness ${id} last cosigned size ${size}, ${relativeTime(cosigned_at, now)}`;
  if (behind_since === null || now - Date.parse(behind_since) < SLOW_WITNESS_MS)
    return finding('log', 'ok', last, null);
  return finding('log', 'warn', problem === null ? last : `${last}: ${problem.reason}`, null);
}
