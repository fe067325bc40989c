import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.ts';
import { type Cluster, EMBEDDED_DATABASE, EMBEDDED_ROLE, openCluster } from './cluster.ts';
import type { DataDir } from './data-dir.ts';
import { postgresBinaries } from './postgres-binaries.ts';
import { boundLog } from './postgres-log.ts';
import { logPathOf, type Postmaster, startPostmaster, stopPostmaster } from './postmaster.ts';

export interface EmbeddedOptions {
  /** Locked: that is what makes this process the only one to start PostgreSQL here. */
  readonly dataDir: DataDir;
  readonly log: Logger;
  /** Gives the start up; it has no say afterwards. */
  readonly signal?: AbortSignal;
  /** Settings (postgresql.conf) over the ones that we hold to; tests turn durability off with them. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Held to at each start, whatever postgresql.conf says: no network, and a commit is on disk when it returns. */
const SETTINGS = {
  listen_addresses: '',
  unix_socket_directories: '.',
  unix_socket_permissions: '0700',
  port: '5432',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  logging_collector: 'off',
  log_destination: 'stderr',
} satisfies Record<string, string>;

/** Pauses between tries to start, doubling. The first tries may fail: see startWithRetries. */
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 5_000;
const FIRST_START_TRIES = 6;
const LOG_CHECK_MS = 60_000;

/** The connection URL of the embedded database of a data directory (absolute), for pg and psql alike. */
export function embeddedUrl(dataDir: string): string {
  const host = encodeURIComponent(`${dataDir}/postgres`);
  return `postgresql://${EMBEDDED_ROLE}@localhost/${EMBEDDED_DATABASE}?host=${host}`;
}

/**
 * Starts PostgreSQL in `<data dir>/postgres`, on a Unix socket only, and makes the cluster first if there is
 * none. From then on a server that dies by itself is started again, with back-off; meanwhile nobody can connect.
 *
 * Throws `config_invalid` where it can't be run here, `database_unavailable` where it doesn't come up, either of
 * them where the start is given up.
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const stopping = new AbortController();
  const signal = options.signal ?? stopping.signal;
  const cluster = await openCluster(options.dataDir.path, await postgresBinaries(), signal);
  const settings = { ...SETTINGS, ...options.settings };
  const run: Run = { cluster, settings, log: options.log, stopping };
  const postmaster = await startWithRetries(run, FIRST_START_TRIES, signal);
  return new EmbeddedPostgres(embeddedUrl(options.dataDir.path), run, postmaster);
}

interface Run {
  readonly cluster: Cluster;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: Logger;
  readonly stopping: AbortController;
}

export class EmbeddedPostgres {
  readonly url: string;
  readonly #run: Run;
  readonly #supervised: Promise<void>;
  readonly #logCheck: NodeJS.Timeout;
  #postmaster: Postmaster;

  constructor(url: string, run: Run, postmaster: Postmaster) {
    this.url = url;
    this.#run = run;
    this.#postmaster = postmaster;
    this.#supervised = this.#supervise();
    this.#logCheck = setInterval(() => this.#boundLog(), LOG_CHECK_MS).unref();
  }

  /** Of the server's first process; another one after a restart. */
  get pid(): number {
    return this.#postmaster.pid;
  }

  /** Stops the server; sessions still open are cut. Bounded: 9 s at most. */
  async stop(): Promise<void> {
    this.#run.stopping.abort();
    clearInterval(this.#logCheck);
    await stopPostmaster(this.#postmaster);
    await this.#supervised;
  }

  async #supervise(): Promise<void> {
    const { log, stopping } = this.#run;
    for (;;) {
      await this.#postmaster.exited;
      if (stopping.signal.aborted) return;
      log.error({ pid: this.#postmaster.pid }, 'the embedded PostgreSQL ended by itself; starting it again');
      try {
        this.#postmaster = await startWithRetries(this.#run, Number.POSITIVE_INFINITY, stopping.signal);
        log.info({ pid: this.#postmaster.pid }, 'the embedded PostgreSQL runs again');
        if (stopping.signal.aborted) await stopPostmaster(this.#postmaster);
      } catch (error) {
        if (stopping.signal.aborted) return;
        throw error;
      }
    }
  }

  #boundLog(): void {
    try {
      boundLog(logPathOf(this.#run.cluster));
    } catch (error) {
      this.#run.log.warn({ err: error }, 'the log of the embedded PostgreSQL could not be cut');
    }
  }
}

/** A try may fail only because processes of a server that was killed hold its memory for some moments more. */
async function startWithRetries(run: Run, tries: number, signal: AbortSignal): Promise<Postmaster> {
  let pauseMs = RETRY_MIN_MS;
  for (let attempt = 1; ; attempt++) {
    try {
      return await startPostmaster(run.cluster, run.settings, signal);
    } catch (error) {
      if (attempt >= tries || signal.aborted) throw error;
      run.log.warn({ err: error, retryInMs: pauseMs }, 'the embedded PostgreSQL cannot be started yet');
    }
    await sleep(pauseMs, undefined, { signal });
    pauseMs = Math.min(pauseMs * 2, RETRY_MAX_MS);
  }
}
