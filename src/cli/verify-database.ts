import { type WitnessPolicy, witnessId } from '../audit/log/cosignature.ts';
import { formatVerifierKey, type NoteKey, parseVerifierKey } from '../audit/log/note.ts';
import type { Tree } from '../audit/log/proof.ts';
import { verifierOf } from '../audit/log-key.ts';
import { type Verified, verifyLog } from '../audit/verify-log.ts';
import { verifyWitnessed, type Witnessed } from '../audit/verify-witnessed.ts';
import type { Database } from '../db/database.ts';
import { PostgresLog } from '../db/log.ts';
import { PostgresLogSource } from '../db/log-source.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import { unlessInterrupted } from './interrupt.ts';
import { note, type Terminal, writeJson, writeLine } from './output.ts';
import { Progress } from './progress.ts';
import { readGiven } from './read-given.ts';
import { type KeptState, readState, writeState } from './verified-state.ts';
import { type DatabaseSettings, withDatabase } from './with-database.ts';
import {
  cosignatureBodies,
  describeCosignatures,
  type WitnessFlags,
  witnessPolicyOf,
} from './witness-policy.ts';

/** Some ranges are read at once, each kind of row on a connection of its own. */
const READING = { maxConnections: 6, statementTimeoutMs: 3_600_000 };

export interface VerifyDatabaseFlags extends WitnessFlags {
  readonly verifierKey?: string;
  readonly checkpoint: readonly string[];
  readonly state?: string;
  readonly full?: boolean;
  readonly json?: boolean;
}

interface Run extends Verified {
  readonly key: NoteKey;
  /** How far witnesses vouch for it; null where none was asked for. */
  readonly witnessed: Witnessed | null;
  readonly waitingSince: Date | null;
}

/** Verifies the log of a database, all or what came since the state that was kept. Throws `conflict` where it does not hold. */
export async function verifyDatabase(
  settings: DatabaseSettings,
  flags: VerifyDatabaseFlags,
  terminal: Terminal,
): Promise<void> {
  const state = flags.state === undefined ? null : await readState(flags.state);
  const pinned = pinnedKey(flags, state);
  const kept = await Promise.all(flags.checkpoint.map(readGiven));
  // Also where all is verified again, it must be the log that it was.
  if (state !== null) kept.push(state.checkpoint);
  const since = flags.full === true ? null : state;
  const begun = performance.now();
  const run = await verify(settings, terminal, { pinned, kept, since, policy: witnessPolicyOf(flags) });
  report(run, since, flags, terminal, (performance.now() - begun) / 1000);
  const { key, head, last } = run;
  if (flags.state !== undefined && head !== null && last !== null)
    await writeState(flags.state, {
      key,
      checkpoint: head.note,
      last,
      verifiedAt: new Date(terminal.clock()).toISOString(),
    });
  if (pinned === null) noteKey(terminal, formatVerifierKey(key));
}

function verify(
  settings: DatabaseSettings,
  terminal: Terminal,
  options: {
    pinned: NoteKey | null;
    kept: readonly string[];
    since: KeptState | null;
    policy: WitnessPolicy | null;
  },
): Promise<Run> {
  const progress = new Progress(terminal, 'entries');
  const { pinned, policy, ...rest } = options;
  const work = withDatabase(
    settings,
    (database) =>
      unlessInterrupted(async () => {
        const log = new PostgresLog(database);
        const stored = await log.key();
        if (stored === null)
          throw new CarnetError('not_found', 'the log has not begun: no server ran on this database yet');
        const key = pinned ?? verifierOf(stored);
        const onProgress = (done: number, size: number): void => progress.show(done, size);
        const source = new PostgresLogSource(database);
        const verified = await verifyLog({ source, key, onProgress, ...rest });
        const { witnessed, fault } = await witnessedIn(database, key, verified.head, policy);
        const waitingSince = await log.waitingSince();
        return { key, ...verified, witnessed, fault: verified.fault ?? fault, waitingSince };
      }),
    READING,
  );
  return work.finally(() => progress.end());
}

/** What they vouch for, or what does not fit of it; neither where no witness is asked for. */
async function witnessedIn(
  database: Database,
  key: NoteKey,
  head: Tree | null,
  policy: WitnessPolicy | null,
): Promise<{ readonly witnessed: Witnessed | null; readonly fault: string | null }> {
  if (policy === null || head === null) return { witnessed: null, fault: null };
  const witnesses = policy.witnesses.map((one) => ({ id: witnessId(one), key: one, url: '' }));
  const log = new PostgresLog(database, { witnesses, quorum: policy.quorum });
  try {
    return { witnessed: await verifyWitnessed(log, key, head, policy), fault: null };
  } catch (error) {
    if (errorCodeOf(error) !== 'conflict') throw error;
    return { witnessed: null, fault: (error as Error).message };
  }
}

/** A database that was made anew has another key: only one that was kept elsewhere shows it. */
function pinnedKey(
  { verifierKey, state: file }: VerifyDatabaseFlags,
  state: KeptState | null,
): NoteKey | null {
  const given = verifierKey === undefined ? null : parseVerifierKey(verifierKey.trim());
  if (given !== null && state !== null && formatVerifierKey(given) !== formatVerifierKey(state.key))
    throw new CarnetError(
      'conflict',
      `${file} is of the log of ${formatVerifierKey(state.key)}, not of the key that was given`,
    );
  return given ?? state?.key ?? null;
}

function report(
  { head, checkpoints, retired, fault, waitingSince, witnessed }: Run,
  since: KeptState | null,
  { json }: VerifyDatabaseFlags,
  terminal: Terminal,
  seconds: number,
): void {
  const [size, before] = [head?.size ?? 0, since?.tree.size ?? 0];
  if (json === true)
    writeJson(terminal, {
      ok: fault === null,
      size,
      verified_before: before,
      checkpoints,
      retired: retired.map(({ partition, rows }) => ({ partition, rows })),
      waiting_since: waitingSince?.toISOString() ?? null,
      witnessed: witnessed && {
        size: witnessed.size,
        cosignatures: cosignatureBodies(witnessed.cosignatures),
      },
      fault,
    });
  if (fault !== null) throw new CarnetError('conflict', `the log does not hold: ${fault}`);
  if (json === true) return;
  const took = `(${seconds.toFixed(1)} s)`;
  if (since === null) writeLine(terminal, `${size} entries and ${checkpoints} checkpoints hold ${took}`);
  else
    writeLine(
      terminal,
      `${size - before} new entries and ${checkpoints} new checkpoints hold, on top of the ${before} entries that were verified by ${since.verifiedAt} and were not read again ${took}`,
    );
  for (const { partition, rows } of retired)
    writeLine(
      terminal,
      `of the ${rows} entries of ${partition} only the hashes: its rows are in the export that is on record`,
    );
  if (witnessed !== null)
    writeLine(
      terminal,
      `the first ${witnessed.size} are cosigned by ${describeCosignatures(witnessed.cosignatures)}`,
    );
  if (waitingSince !== null)
    note(
      terminal,
      `what was recorded at ${waitingSince.toISOString()} waits for the log, and with it all that came later`,
    );
}

export function noteKey(terminal: Terminal, key: string): void {
  note(
    terminal,
    `verified by the key that was found, ${key}: compare it with the one you kept, or give --verifier-key`,
  );
}
