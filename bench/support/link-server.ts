import { type CarnetProcess, launchCarnet } from '../../test/support/carnet.ts';
import { freePort } from '../../test/support/free-port.ts';
import { type BenchDatabase, startBenchDatabase } from './database.ts';
import { ENTRY } from './workload.ts';

/** A real `carnet server` without an agent, in a process of its own, on a PostgreSQL that outlives it. */
export interface LinkServer extends AsyncDisposable {
  readonly database: BenchDatabase['database'];
  readonly directory: string;
  readonly process: CarnetProcess;
  /** Where agents connect. */
  readonly address: string;
  /** Of PostgreSQL's processes, all of them. */
  postgresCpuMicros(): number;
}

/** Starts one, with an entry that grants every workload of a benchmark an identity of its own. */
export async function startLinkServer(leafTtlSeconds: number): Promise<LinkServer> {
  await using stack = new AsyncDisposableStack();
  const { database, url, directory, postgresCpuMicros } = stack.use(await startBenchDatabase());
  const address = `127.0.0.1:${await freePort()}`;
  const server = await launchCarnet(['--no-agent', '--grpc-addr', address, '--log-level', 'error'], {
    env: { CARNET_DATABASE_URL: url, CARNET_LEAF_TTL: `${leafTtlSeconds}s` },
    parent: directory,
  });
  stack.use(server);
  // Whatever ends the benchmark early: the process is no child that ends with its parent.
  const end = (): void => {
    if (server.pid > 0) process.kill(server.pid, 'SIGKILL');
  };
  process.once('exit', end);
  stack.defer(() => void process.off('exit', end));
  await server.ready();
  const { spiffeId, selectors, dnsNames } = ENTRY;
  await server.call('POST', '/v1/entries', { spiffe_id: spiffeId, selectors, dns_names: dnsNames });
  const owned = stack.move();
  return {
    database,
    directory,
    process: server,
    address,
    postgresCpuMicros,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
