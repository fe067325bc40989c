import type { AuthorityBody } from '../../../src/api/authorities.ts';
import type { FleetBody } from '../../../src/api/fleet.ts';
import type { LogBody } from '../../../src/api/log.ts';
import type { RotationBody } from '../../../src/api/rotations.ts';
import { durationText } from '../parts/time.ts';

/** Something that a person should look at, and where. */
export interface Alarm {
  readonly kind: 'warn' | 'bad';
  readonly title: string;
  readonly advice: string;
}

export interface Situation {
  readonly log: LogBody | undefined;
  readonly fleet: FleetBody | undefined;
  readonly rotations: readonly RotationBody[];
  readonly authorities: readonly AuthorityBody[];
}

/** A record is in the log within a second; past this something holds it up. */
const LOG_LATE_MS = 15_000;
/** Of an authority's life: by then it should have been replaced. */
const LAST_PART = 0.1;

/** What is wrong, worst first; `now` in milliseconds since the epoch. Nothing for what was not answered. */
export function alarmsOf(situation: Situation, now: number): Alarm[] {
  const { log, fleet, rotations, authorities } = situation;
  const found = [
    ...(log === undefined ? [] : logAlarms(log, now)),
    ...rotations.flatMap(rotationAlarms),
    ...authorities.flatMap((authority) => authorityAlarms(authority, now)),
    ...(fleet === undefined ? [] : fleetAlarms(fleet)),
  ];
  return found.sort((a, b) => Number(b.kind === 'bad') - Number(a.kind === 'bad'));
}

function logAlarms({ waiting_since, witnesses }: LogBody, now: number): Alarm[] {
  const late = waiting_since === null ? 0 : now - Date.parse(waiting_since);
  const alarms: Alarm[] = witnesses.flatMap(({ id, problem }) => {
    if (problem === null) return [];
    const isFork = problem.code === 'ahead' || problem.code === 'forked';
    return [
      {
        kind: isFork ? 'bad' : 'warn',
        title: isFork ? `Witness ${id}: the log is not what it was.` : `Witness ${id} does not cosign.`,
        advice: problem.reason,
      },
    ];
  });
  if (late > LOG_LATE_MS)
    alarms.push({
      kind: 'warn',
      title: 'The log is behind.',
      advice: `A record waits for ${durationText(late)}: carnet doctor says why. Issuance goes on.`,
    });
  return alarms;
}

function rotationAlarms({ kind, urgent, laggard_count, old_id, phase }: RotationBody): Alarm[] {
  const alarms: Alarm[] = [];
  if (urgent)
    alarms.push({
      kind: 'bad',
      title: `${old_id} is compromised.`,
      advice: `Its replacement is under way: ${phase}.`,
    });
  if (laggard_count > 0)
    alarms.push({
      kind: 'warn',
      title: `The rotation of the ${kind} waits.`,
      advice: `${laggard_count} ${laggard_count === 1 ? 'consumer has' : 'consumers have'} not acknowledged the new bundle.`,
    });
  return alarms;
}

function authorityAlarms({ id, state, not_before, not_after }: AuthorityBody, now: number): Alarm[] {
  if (state !== 'active') return [];
  const [begin, end] = [Date.parse(not_before), Date.parse(not_after)];
  if (now >= end)
    return [
      { kind: 'bad', title: `${id} has expired.`, advice: 'Nothing can be issued under it: rotate it now.' },
    ];
  if (end - now > (end - begin) * LAST_PART) return [];
  return [
    {
      kind: 'warn',
      title: `${id} ends in ${durationText(end - now)}.`,
      advice: 'A scheduled rotation should have replaced it: see carnet root status.',
    },
  ];
}

function fleetAlarms({ refusing }: FleetBody): Alarm[] {
  if (refusing === 0) return [];
  return [
    {
      kind: 'warn',
      title:
        refusing === 1
          ? 'A proxy refuses what it is sent.'
          : `${refusing} proxies refuse what they are sent.`,
      advice: 'The fleet page has their own words for why.',
    },
  ];
}
