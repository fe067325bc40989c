import { readAgentConfig } from '../../src/agent-config.ts';
import { startNodeAgent } from '../../src/cli/start-node-agent.ts';
import { keepYoungGenerationSmall } from '../../src/cli/young-generation.ts';
import { systemClock } from '../../src/clock.ts';
import { createLogger } from '../../src/log.ts';
import { attestationOf } from './workload.ts';

/**
 * The program that is an agent of a benchmark: `standing-in.ts FIRST`, with its settings in the environment. A whole
 * `carnet agent`, but that each connection is a container of its own, numbered from FIRST on. Ends with its standard
 * input.
 */
keepYoungGenerationSmall();
let callers = Number(process.argv[2]);
const config = readAgentConfig(new Map(), process.env);
const gone = new AbortController();
process.stdin.on('end', () => gone.abort()).resume();
const agent = await startNodeAgent({
  config,
  cacheKeyText: undefined,
  clock: systemClock,
  log: createLogger(config.logLevel),
  signal: gone.signal,
  attest: () => Promise.resolve(attestationOf(callers++)),
});
process.stdout.write('ready\n');
if (!gone.signal.aborted) await new Promise((resolve) => gone.signal.addEventListener('abort', resolve));
await agent.close();
