import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { rootCommand } from '../../src/cli/root.ts';
import type { ImportRequest } from '../../src/rotation/upstream.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { runCommand, startOperator } from './harness.ts';

function directory(t: { teardown(fn: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'carnet-upstream-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

test('root csr prints the request, or writes it to a file', async (t) => {
  const { env } = await startOperator(t);
  const printed = await runCommand(rootCommand, ['csr'], { env });
  t.is(printed.stdout, encodePem('CERTIFICATE REQUEST', Uint8Array.of(0x30, 0)));
  const file = join(directory(t), 'carnet.csr');
  t.is((await runCommand(rootCommand, ['csr', '--out', file], { env })).stdout, '');
  t.is(readFileSync(file, 'utf8'), printed.stdout);
});

test('root import sends the chain in its order, with who and why', async (t) => {
  const imported: ImportRequest[] = [];
  const { env } = await startOperator(t, {
    upstream: {
      request: async () => new Uint8Array(),
      import: async (request) => {
        imported.push(request);
        return 'issuing-0a0b0c0d';
      },
    },
  });
  const file = join(directory(t), 'chain.pem');
  const [ours, root] = [Buffer.from('ours'), Buffer.from('root')];
  writeFileSync(file, encodePem('CERTIFICATE', ours) + encodePem('CERTIFICATE', root));
  const args = [
    'import',
    '--certificate',
    file,
    '--step-by-step',
    '--hold',
    '5m',
    '--reason',
    'offline root',
  ];
  const { code, stdout, stderr } = await runCommand(rootCommand, args, { env });
  t.is(code, 0, stderr);
  t.is(stdout, 'issuing-0a0b0c0d\n');
  t.deepEqual(imported, [
    {
      chain: [ours, root],
      handsFree: false,
      holdSeconds: 300,
      actor: 'operator:root',
      reason: 'offline root',
    },
  ]);
});

test('root import of a file that is missing, or no PEM, fails and sends nothing', async (t) => {
  const { env } = await startOperator(t);
  const file = join(directory(t), 'chain.pem');
  t.is((await runCommand(rootCommand, ['import', '--certificate', file], { env })).code, 1);
  writeFileSync(file, 'no certificate');
  const { code, stderr } = await runCommand(rootCommand, ['import', '--certificate', file], { env });
  t.is(code, 1);
  t.regex(stderr, /CERTIFICATE blocks/);
  t.is((await runCommand(rootCommand, ['import'], { env })).code, 2);
});
