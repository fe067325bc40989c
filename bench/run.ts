import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** `npm run bench -- NAME [ARGS]`: runs one benchmark, which prints a table and leaves nothing behind. */
const [name, ...args] = process.argv.slice(2);
const file = join(import.meta.dirname, `${name}.ts`);

if (name === undefined || name === 'run' || !existsSync(file)) {
  const names = readdirSync(import.meta.dirname)
    .filter((entry) => entry.endsWith('.ts') && entry !== 'run.ts')
    .map((entry) => entry.slice(0, -'.ts'.length));
  process.stderr.write(`usage: npm run bench -- NAME [ARGS]\nbenchmarks: ${names.join(', ')}\n`);
  process.exitCode = 2;
} else {
  // Servers that run at the same time can't all have the default.
  process.env.CARNET_GRPC_ADDR ??= '127.0.0.1:0';
  const benchmark = (await import(file)) as { run(args: string[]): Promise<void> };
  await benchmark.run(args);
}
