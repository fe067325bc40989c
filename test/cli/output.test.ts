import { PassThrough } from 'node:stream';
import test from 'ava';
import { auditCommand } from '../../src/cli/audit.ts';
import { entryCommand } from '../../src/cli/entry.ts';
import { PROCESS_TERMINAL, Table } from '../../src/cli/output.ts';
import { makeCertificate, makeIssuance } from '../api/harness.ts';
import { lines, runCommand, startOperator } from './harness.ts';

test('a table fits the terminal that it is shown on', async (t) => {
  const { env, api } = await startOperator(t);
  api.issuances.issuances.push(makeIssuance(1, await makeCertificate('leaf')));
  for (const columns of [80, 100, 120]) {
    const { stdout } = await runCommand(auditCommand, ['search'], {
      env: { ...env, NO_COLOR: '1' },
      columns,
    });
    for (const line of lines(stdout)) t.true(line.length <= columns, line);
  }
});

test('colour is only for a terminal, and not with NO_COLOR', async (t) => {
  const { env } = await startOperator(t);
  const escaped = async (surroundings: Parameters<typeof runCommand>[2]) =>
    (await runCommand(entryCommand, ['list'], surroundings)).stdout.includes('\u001b[');
  t.true(await escaped({ env, columns: 80 }));
  t.false(await escaped({ env }));
  t.false(await escaped({ env: { ...env, NO_COLOR: '1' }, columns: 80 }));
});

test('a table that is written in parts is cut at a terminal only', (t) => {
  const written = (isTTY: boolean): string => {
    let text = '';
    const write = (chunk: string): boolean => {
      text += chunk;
      return true;
    };
    const stdout = Object.assign(new PassThrough(), { isTTY, columns: 40, write });
    const table = new Table({ ...PROCESS_TERMINAL, stdout, env: { NO_COLOR: '1' } }, ['NAME', 'AGE']);
    table.write([['short', '1']]);
    table.write([['considerably longer', '22']]);
    return text;
  };
  t.is(written(false), 'NAME   AGE\nshort  1\nconsiderably longer  22\n');
  t.is(written(true), 'NAME   AGE\nshort  1\nco…er  22\n');
});
