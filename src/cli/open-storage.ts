import { RecordingWatch } from '../audit/watch-recording.ts';
import type { ServerConfig } from '../config.ts';
import type { DataDir } from '../db/data-dir.ts';
import { Database } from '../db/database.ts';
import { startEmbeddedPostgres } from '../db/embedded.ts';
import { insertIssuances } from '../db/issuances.ts';
import { DatabaseProbe } from '../db/probe.ts';
import type { Logger } from '../log.ts';

/** Records go on one connection at a time; the rest serves questions and changes. */
const CONNECTIONS = 10;
/** What auditors ask may take long: it has these, and no more. */
const HISTORY_CONNECTIONS = 4;
/** The probe has a connection of its own: readiness must not wait for one, nor as long as a statement may take. */
const PROBE_TIMEOUT_MS = 2_000;

export interface Storage extends AsyncDisposable {
  /** Of the database. */
  readonly url: string;
  readonly database: Database;
  /** The same, for questions about history. */
  readonly history: Database;
  /** Whether the database answers. */
  readonly probe: DatabaseProbe;
  /** Whether it records. */
  readonly recording: RecordingWatch;
}

/** The database, embedded or the operator's, which may still be away. Throws what the embedded one's start does. */
export async function openStorage({
  dataDir,
  config,
  log,
  signal,
}: {
  readonly dataDir: DataDir;
  readonly config: ServerConfig;
  readonly log: Logger;
  /** Gives the start up. */
  readonly signal: AbortSignal;
}): Promise<Storage> {
  await using stack = new AsyncDisposableStack();
  const embedded = config.databaseUrl === null ? await startEmbeddedPostgres({ dataDir, log, signal }) : null;
  if (embedded !== null) stack.defer(() => embedded.stop());
  const url = config.databaseUrl ?? embedded?.url ?? '';
  const database = new Database({ url, name: 'server', maxConnections: CONNECTIONS, log });
  stack.defer(() => database.close());
  const history = new Database({ url, name: 'history', maxConnections: HISTORY_CONNECTIONS, log });
  stack.defer(() => history.close());

  const probed = new Database({
    url,
    name: 'probe',
    maxConnections: 1,
    statementTimeoutMs: PROBE_TIMEOUT_MS,
    log,
  });
  stack.defer(() => probed.close());
  const probe = new DatabaseProbe(probed, (up, problem) => {
    if (up) log.info('the database answers again');
    else
      log.error(
        { problem },
        'the database does not answer: nothing is issued; what was delivered keeps working',
      );
  });
  stack.defer(() => probe.close());
  const recording = new RecordingWatch(
    (batch) => insertIssuances(database, batch),
    () => performance.now(),
  );
  const owned = stack.move();
  return {
    url,
    database,
    history,
    probe,
    recording,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
