import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');

/** ts-proto's options: erasable TypeScript, the wire codec and service definitions, and nothing else. */
const OPTIONS = [
  'importSuffix=.ts',
  'outputServices=grpc-js',
  'outputJsonMethods=false',
  'outputPartialMethods=false',
  'enumsAsLiterals=true',
  'unrecognizedEnum=false',
  'oneof=unions-value',
  'useMapType=true',
  'exportCommonSymbols=false',
  'annotateFilesWithVersion=false',
];

/**
 * Compiles every .proto file in this directory to TypeScript in `out` (src/gen by default: its files are
 * committed, and replaced as a whole). Throws with the compiler's words if a file doesn't compile.
 */
export function generate(out: string = resolve(ROOT, 'src/gen')): void {
  const bin = resolve(ROOT, 'node_modules/.bin');
  const template = {
    version: 'v2',
    clean: true,
    plugins: [
      {
        local: resolve(bin, 'protoc-gen-ts_proto'),
        out,
        include_imports: true,
        include_wkt: true,
        opt: OPTIONS,
      },
    ],
  };
  const { status, stderr } = spawnSync(
    resolve(bin, 'buf'),
    ['generate', 'proto', '--template', JSON.stringify(template)],
    { cwd: ROOT, encoding: 'utf8', env: { ...process.env, PATH: `${bin}:${process.env.PATH}` } },
  );
  if (status !== 0) throw new Error(`buf generate failed: ${stderr}`);
}

if (import.meta.main) generate();
