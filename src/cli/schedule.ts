import { schedule, setLogger } from 'node-cron';
import { pruneAgents } from '../db/agents.ts';
import { pruneConsumers } from '../db/consumers.ts';
import { countIssuances } from '../db/count-issuances.ts';
import type { Database } from '../db/database.ts';
import { pruneJoinTokens } from '../db/join-tokens.ts';
import { ensurePartitions } from '../db/partitions.ts';
import { keepServerNode } from '../db/server-nodes.ts';
import { pruneSessions } from '../db/sessions.ts';
import { pruneTokenUses } from '../db/token-uses.ts';
import { isRetryable } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type ApplyOptions, applyPlan } from '../rotation/apply.ts';
import type { Authorities } from '../rotation/authorities.ts';
import { startScheduled } from '../rotation/operate.ts';
import { plan } from '../rotation/plan.ts';
import { ROTATION_KINDS, type Rotation } from '../rotation/rotation.ts';
import type { RotationSchedule } from '../setting-values.ts';
import { LatenessLog } from './lateness-log.ts';

export interface UpkeepOptions {
  readonly apply: ApplyOptions;
  readonly authorities: Authorities;
  readonly database: Database;
  readonly log: Logger;
  /** Whose agent this server is itself; null for none. */
  readonly ownNode: string | null;
  readonly rotationSchedules: Readonly<Record<Rotation['kind'], RotationSchedule>>;
}

/** Authorities are looked at this often: a lifetime of seconds must work as well as one of years. */
const AUTHORITIES = '* * * * * *';
const LATENESS = '*/5 * * * * *';
const PARTITIONS = '17 3 * * *';
const OWN_NODE = '27 3 * * *';
const FLEET = '30 * * * * *';
const TOKEN_USES = '45 * * * * *';
const SESSIONS = '50 * * * * *';
const COUNTS = '*/15 * * * * *';
const AGENTS = '55 * * * * *';

/** Wakes what is to be done by the clock. Every replica wakes; Postgres decides who acts. */
export function scheduleUpkeep(options: UpkeepOptions): AsyncDisposable {
  const { log, database, ownNode } = options;
  setLogger(cronLog(log));
  const lateness = new LatenessLog(log);
  const tasks = [
    schedule(LATENESS, () => {
      const { authorities, apply } = options;
      const ending = [...authorities.list(), ...authorities.jwtKeys()];
      lateness.look(apply.clock(), ending, authorities.rotations());
    }),
    schedule(AUTHORITIES, () => quietly(log, 'authorities', () => advanceRotations(options)), {
      noOverlap: true,
    }),
    ...cronRotations(options),
    schedule(FLEET, () => quietly(log, 'fleet', () => pruneConsumers(database)), { noOverlap: true }),
    schedule(TOKEN_USES, () => quietly(log, 'token uses', () => pruneTokenUses(database)), {
      noOverlap: true,
    }),
    schedule(SESSIONS, () => quietly(log, 'sessions', () => pruneSessions(database)), { noOverlap: true }),
    schedule(COUNTS, () => quietly(log, 'counts for reports', () => countIssuances(database)), {
      noOverlap: true,
    }),
    schedule(AGENTS, () => quietly(log, 'agents and join tokens', () => pruneNodes(database)), {
      noOverlap: true,
    }),
    ...(ownNode === null
      ? []
      : [schedule(OWN_NODE, () => quietly(log, 'own node', () => keepServerNode(database, ownNode)))]),
    schedule(PARTITIONS, () => quietly(log, 'partitions', () => ensurePartitions(database)), {
      noOverlap: true,
    }),
  ];
  return {
    [Symbol.asyncDispose]: async () => {
      for (const task of tasks) await task.destroy();
    },
  };
}

/** How nodes joined, and those that did and are gone. */
async function pruneNodes(database: Database): Promise<void> {
  await pruneJoinTokens(database);
  await pruneAgents(database);
}

/** Asks the database only when a rotation is under way, or what was last read says that something is due. */
async function advanceRotations({ apply, authorities, log }: UpkeepOptions): Promise<void> {
  const nothing = { count: 0, until: null };
  const known = {
    authorities: authorities.list(),
    rotations: [],
    fleet: [],
    outstanding: nothing,
    jwt: { keys: authorities.jwtKeys(), rotation: null, outstanding: nothing },
  };
  if (authorities.rotations().length === 0 && plan(apply.clock(), known, apply.schedule).length === 0) return;
  const steps = await applyPlan(apply, 'schedule:authorities');
  for (const { kind, why } of steps) log.info({ step: kind, why }, 'authorities changed');
  if (steps.length > 0) await authorities.refresh();
}

/** Opens a rotation because it is time; every replica fires, and the first to come opens it. */
async function startBySchedule(
  { apply, log }: UpkeepOptions,
  kind: Rotation['kind'],
  firedAt: Date,
): Promise<void> {
  const started = await startScheduled(apply, kind, firedAt);
  if (started) log.info({ kind }, 'a scheduled rotation begins');
}

function cronRotations(options: UpkeepOptions) {
  const { log, rotationSchedules } = options;
  return ROTATION_KINDS.flatMap((kind) => {
    const expression = rotationSchedules[kind];
    if (expression === 'auto' || expression === 'off') return [];
    return [
      schedule(expression, ({ date }) =>
        quietly(log, `${kind} rotation`, () => startBySchedule(options, kind, date)),
      ),
    ];
  });
}

/** What node-cron says by itself, such as that a task still runs, which here is as it should be: not to the console. */
function cronLog(log: Logger): Parameters<typeof setLogger>[0] {
  const debug = (message: string | Error): void => log.debug({ said: String(message) }, 'node-cron');
  return {
    info: debug,
    warn: debug,
    debug,
    error: (message, error) => log.error({ err: error ?? message }, 'node-cron failed'),
  };
}

/** A failure is for the log: the next time may go better. */
async function quietly(log: Logger, task: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (isRetryable(error))
      log.warn({ task, reason: (error as Error).message }, 'scheduled work failed; it is tried again');
    else log.error({ task, err: error }, 'scheduled work failed');
  }
}
