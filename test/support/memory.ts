import { once } from 'node:events';
import type { CarnetProcess } from './carnet.ts';
import { until } from './until.ts';

/** What a process holds after a garbage collection, in bytes: its own objects, buffers, and all of its memory. */
export interface Memory {
  readonly heapUsed: number;
  readonly external: number;
  readonly rss: number;
}

/** To be given to a server whose memory is to be read: its inspector shall have a free port. */
export const MEASURABLE: NodeJS.ProcessEnv = { NODE_OPTIONS: '--inspect-port=0' };

/** Has a server collect its garbage, through Node's inspector, which it opens on SIGUSR1. */
export async function memoryOf(carnet: CarnetProcess): Promise<Memory> {
  process.kill(carnet.pid, 'SIGUSR1');
  const address = await until('the inspector listens', () => /ws:\/\/127\S+/.exec(carnet.log())?.[0]);
  const inspector = new WebSocket(address);
  await once(inspector, 'open');
  const call = async (method: string, params = {}): Promise<{ result?: { value?: unknown } }> => {
    inspector.send(JSON.stringify({ id: 1, method, params }));
    const [{ data }] = (await once(inspector, 'message')) as [{ data: string }];
    return (JSON.parse(data) as { result: { result?: { value?: unknown } } }).result;
  };
  await call('HeapProfiler.collectGarbage');
  const expression = 'process.memoryUsage()';
  const { result } = await call('Runtime.evaluate', { expression, returnByValue: true });
  inspector.close();
  return result?.value as Memory;
}
