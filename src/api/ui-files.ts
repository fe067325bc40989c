import { hash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join, posix, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** As `npm run build` leaves it beside the built server; not there in a checkout. */
const BUILT = resolve(import.meta.dirname, '../web');
const SOURCES = resolve(import.meta.dirname, '../../web/app');

/** What the UI imports by a bare name, which no browser finds: our copy of it. */
const PACKAGES: Readonly<Record<string, string>> = {
  preact: 'packages/preact.js',
  'preact/hooks': 'packages/preact-hooks.js',
  htm: 'packages/htm.js',
};
const IMPORT = /(\bfrom\s*|\bimport\s*\(?\s*)(["'])([^"']+)\2/g;

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** What browsers get, by its path below the UI's own: whole, in memory. */
export interface UiFiles {
  /** Of all files: it stands in their paths, so that each may be kept for ever. */
  readonly version: string;
  /** The one document; the rest is named in it, and changes with it. */
  readonly page: string;
  readonly assets: ReadonlyMap<string, { readonly body: Buffer; readonly mediaType: string }>;
}

/** Reads the UI, from what `npm run build` made or, in a checkout, from its sources. Takes some 100 ms there. */
export function readUiFiles(): UiFiles {
  const texts = existsSync(BUILT) ? readTexts(BUILT) : makeUiTexts();
  const version = hash('sha256', JSON.stringify([...texts].sort()), 'hex').slice(0, 16);
  const page = texts.get('index.html') ?? '';
  texts.delete('index.html');
  return {
    version,
    page: page
      .replace('<!-- modules -->', modulePreloads([...texts.keys()], page))
      .replaceAll('%ASSETS%', `/ui/assets/${version}`),
    assets: new Map(
      [...texts].map(([path, text]) => [
        path,
        {
          body: Buffer.from(text),
          mediaType: MEDIA_TYPES[posix.extname(path)] ?? 'application/octet-stream',
        },
      ]),
    ),
  };
}

/** The sources as browsers can read them: types stripped, packages beside them. What `npm run build` writes down. */
export function makeUiTexts(): Map<string, string> {
  const texts = new Map<string, string>();
  for (const [path, text] of readTexts(SOURCES))
    if (path.endsWith('.ts')) texts.set(`${path.slice(0, -3)}.js`, toModule(stripTypes(text), path));
    else texts.set(path, text);
  for (const [name, path] of Object.entries(PACKAGES))
    texts.set(path, toModule(readFileSync(fileURLToPath(import.meta.resolve(name)), 'utf8'), path));
  return texts;
}

function readTexts(directory: string): Map<string, string> {
  const paths = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => posix.extname(path) in MEDIA_TYPES || path.endsWith('.ts'))
    .sort();
  return new Map(paths.map((path) => [path, readFileSync(join(directory, path), 'utf8')]));
}

/** Without the line on stderr by which Node says that this function of its may change. */
function stripTypes(text: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => undefined;
  try {
    return stripTypeScriptTypes(text);
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** Imports by paths that a browser can ask for: `./x.ts` is `./x.js` there, and packages are files of ours. */
function toModule(text: string, path: string): string {
  const withImports = text.replace(IMPORT, (whole, keyword: string, quote: string, name: string) => {
    const target = PACKAGES[name];
    if (target !== undefined)
      return `${keyword}${quote}./${posix.relative(posix.dirname(path), target)}${quote}`;
    return name.startsWith('.') ? whole.replace(/\.ts(["'])$/, '.js$1') : whole;
  });
  return withImports.replace(/^\/\/# sourceMappingURL=.*$/m, '');
}

/** So that a browser asks for all modules at once, not each after the one that imports it. Scripts of the page are none. */
function modulePreloads(paths: readonly string[], page: string): string {
  return paths
    .filter((path) => path.endsWith('.js') && !page.includes(`%ASSETS%/${path}"`))
    .map((path) => `<link rel="modulepreload" href="%ASSETS%/${path}">`)
    .join('\n    ');
}
