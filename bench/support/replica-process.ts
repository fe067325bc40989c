import { createUnixAttestor } from '../../src/attestation/attest.ts';
import { startServer } from '../../src/cli/start-server.ts';
import { systemClock } from '../../src/clock.ts';
import { readServerConfig } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { attestationOf } from './workload.ts';

/**
 * The program that is one replica, forked by replicas.ts: `replica-process.ts FLEET-PID FIRST`, with its settings in
 * the environment. A whole server, but that to its agent each connection of the fleet's process is a container of
 * its own, numbered from FIRST on. Tells its parent its URL once it serves, and ends with it.
 */
const [fleetPid, first] = process.argv.slice(2).map(Number) as [number, number];
const attestor = createUnixAttestor();
const config = readServerConfig(new Map(), process.env);
const gone = new AbortController();
let callers = first;

process.once('disconnect', () => gone.abort());
// A terminal's Ctrl-C is for our parent, who then stops us in order.
process.on('SIGINT', () => undefined);
const server = await startServer({
  config,
  keyEncryptionKeyText: process.env.CARNET_KEY_ENCRYPTION_KEY,
  clock: systemClock,
  log: createLogger(config.logLevel),
  signal: gone.signal,
  attest: async (peer) => (peer.pid === fleetPid ? attestationOf(callers++) : attestor.attest(peer)),
});
process.send?.(server.url);
if (!gone.signal.aborted) await new Promise((resolve) => gone.signal.addEventListener('abort', resolve));
await server.close();
attestor.close();
