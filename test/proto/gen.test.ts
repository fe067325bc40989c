import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'ava';
import { generate } from '../../proto/generate.ts';

test('src/gen is what proto/ generates', (t) => {
  const out = mkdtempSync(join(tmpdir(), 'carnet-gen-'));
  t.teardown(() => rmSync(out, { recursive: true }));
  generate(out);
  t.deepEqual(filesOf(resolve(import.meta.dirname, '../../src/gen')), filesOf(out));
});

function filesOf(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(directory, name), 'utf8')]));
}
