import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { makeUiTexts } from '../src/api/ui-files.ts';

/** Part of `npm run build`: the UI as the built server reads it, so that it needs neither sources nor a compiler. */
const TARGET = resolve(import.meta.dirname, '../dist/web');

rmSync(TARGET, { recursive: true, force: true });
for (const [path, text] of makeUiTexts()) {
  const file = join(TARGET, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
