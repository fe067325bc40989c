import { spawnSync } from 'node:child_process';

/** `npm run check`: types, lint and format. The directions of imports are held by test/imports.test.ts too. */
const CHECKS = [
  ['tsc', ['-p', '.']],
  ['tsc', ['-b', 'web']],
  ['biome', ['ci', '--error-on-warnings', '.']],
  ['ava', ['test/imports.test.ts']],
] as const;

let failed = 0;
for (const [command, args] of CHECKS) {
  const { status } = spawnSync('npx', ['--no-install', command, ...args], { stdio: 'inherit' });
  if (status !== 0) failed++;
}
process.stdout.write(`checks: ${CHECKS.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
