import test from 'ava';
import { Leadership } from '../../src/cli/leadership.ts';
import { createLogger } from '../../src/log.ts';
import { until } from '../support/until.ts';

test('leads while it has the lease, and gives up both when it is closed', async (t) => {
  const told: string[] = [];
  const leadership = new Leadership({
    take: async () => true,
    release: async () => void told.push('released'),
    lead: async () => {
      told.push('leads');
      return { [Symbol.asyncDispose]: async () => void told.push('stopped') };
    },
    log: createLogger('fatal'),
    now: () => 0,
    random: () => 0,
  });
  await until('it leads', () => told.includes('leads'));
  await leadership[Symbol.asyncDispose]();
  t.deepEqual(told, ['leads', 'stopped', 'released']);
});

test('neither leads nor releases what another has', async (t) => {
  const told: string[] = [];
  let asked = 0;
  const leadership = new Leadership({
    take: async () => {
      asked++;
      return false;
    },
    release: async () => void told.push('released'),
    lead: async () => {
      told.push('leads');
      return { [Symbol.asyncDispose]: async () => undefined };
    },
    log: createLogger('fatal'),
    now: () => 0,
    random: () => 0,
  });
  await until('it has asked', () => asked > 0);
  await leadership[Symbol.asyncDispose]();
  t.deepEqual(told, []);
});
