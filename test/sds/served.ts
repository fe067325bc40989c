import { randomBytes } from 'node:crypto';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { createLogger } from '../../src/log.ts';
import { SERVER_OPTIONS } from '../../src/sds/limits.ts';
import { addSecretDiscoveryService } from '../../src/sds/server.ts';
import { bundle, TestHolder } from './holder.ts';

/** A server in a process of its own, so that a test can measure it: forked by victim.ts, spoken to by IPC. */
const [socket = '', overrides = '{}'] = process.argv.slice(2);
const holder = new TestHolder();
const server = new Server({ ...SERVER_OPTIONS, ...JSON.parse(overrides) });
const service = addSecretDiscoveryService(server, {
  callerOf: () => holder,
  observe: () => ({
    named: () => undefined,
    kept: () => undefined,
    sent: () => undefined,
    acknowledged: () => undefined,
    observing: () => undefined,
    observed: () => undefined,
    rejected: () => undefined,
    waiting: () => undefined,
    dropped: () => undefined,
    closed: () => undefined,
  }),
  fetched: () => undefined,
  metrics: {
    streams: () => undefined,
    pushed: () => undefined,
    acknowledged: () => undefined,
    rejected: () => undefined,
    refusedNames: () => undefined,
  },
  log: createLogger('fatal'),
  limits: { firstRequestMs: 500, graceMs: 500, streamsPerInstance: 2_000 },
});

let sequence = 1;
/** Each request asks for updates of the bundle, one a turn of the event loop; the answer is what the server is now. */
process.on('message', async ({ updates }: { updates: number }) => {
  for (let i = 0; i < updates; i++) {
    sequence++;
    holder.set({ bundle: bundle(sequence, { x509Authorities: [randomBytes(600), randomBytes(600)] }) });
    await new Promise(setImmediate);
  }
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send?.({ rss, heapUsed, external, open: service.open, sequence });
});
process.on('disconnect', () => process.exit());

server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), () => process.send?.('listening'));
