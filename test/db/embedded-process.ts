import { once } from 'node:events';
import { openDataDir } from '../../src/db/data-dir.ts';
import { startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { log } from './fixtures.ts';

/** A process with an embedded PostgreSQL, to be killed: says so when it is up, and stops cleanly at SIGTERM. */
const dataDir = openDataDir(process.argv[2] ?? '');
const postgres = await startEmbeddedPostgres({ dataDir, log });
process.stdout.write(`${JSON.stringify({ url: postgres.url, pid: postgres.pid })}\n`);
await once(process, 'SIGTERM');
await postgres.stop();
dataDir.close();
