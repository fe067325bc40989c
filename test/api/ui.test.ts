import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import test from 'ava';
import { readUiFiles } from '../../src/api/ui-files.ts';
import { call, startApi } from './harness.ts';

const APP = resolve(import.meta.dirname, '../../web/app');
const ASSET = /(?:href|src)="(\/ui\/assets\/[^"]+)"/g;

test('a person who opens the server gets the UI, at every path below /ui/', async (t) => {
  const api = await startApi(t);
  const root = await fetch(api.url, { redirect: 'manual' });
  t.deepEqual([root.status, root.headers.get('location')], [302, '/ui/']);
  const pages = await Promise.all(
    ['/ui/', '/ui/issuances', '/ui/issuances/00?x=y'].map((path) => get(api.url, path)),
  );
  for (const { status, text } of pages) {
    t.is(status, 200);
    t.is(text, pages.at(0)?.text ?? '');
  }
});

test('the page is asked for anew each time, and its files never again', async (t) => {
  const api = await startApi(t);
  const page = await get(api.url, '/ui/');
  t.is(page.headers.get('cache-control'), 'no-cache');
  const again = await fetch(`${api.url}/ui/`, {
    // Of itself fetch would ask for no cached answer.
    headers: { 'if-none-match': page.headers.get('etag') ?? '', 'cache-control': 'max-age=0' },
  });
  t.is(again.status, 304);
  const paths = [...page.text.matchAll(ASSET)].map(([, path = '']) => path);
  t.true(paths.length > 10);
  for (const path of paths) {
    const asset = await get(api.url, path);
    t.is(asset.status, 200, path);
    t.regex(asset.headers.get('cache-control') ?? '', /immutable/);
    t.is(asset.headers.get('x-content-type-options'), 'nosniff');
  }
});

test("files of another version are not to be had: they would be kept for ever under this one's name", async (t) => {
  const api = await startApi(t);
  for (const path of ['/ui/assets/0000000000000000/main.js', '/ui/assets/', '/ui/assets/x'])
    t.is((await call(api, 'GET', path)).status, 404, path);
});

test('nothing from elsewhere, no script in the page, no frame around it', async (t) => {
  const api = await startApi(t);
  const { headers, text } = await get(api.url, '/ui/');
  const policy = headers.get('content-security-policy') ?? '';
  for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"])
    t.true(policy.includes(part), part);
  t.notRegex(policy, /unsafe|data:|\*/);
  t.notRegex(text, /<script>|style=|https?:|\son\w+=/);
});

test('every module is there, and imports only modules that are there', (t) => {
  const { assets, page } = readUiFiles();
  const sources = readdirSync(APP, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.ts'),
  );
  for (const source of sources) t.true(assets.has(source.replace(/\.ts$/, '.js')), source);
  for (const [path, { body }] of assets) {
    if (!path.endsWith('.js')) continue;
    for (const [, name = ''] of body.toString().matchAll(/\b(?:from|import)\s*\(?\s*["']([^"'\s,]+)["']/g)) {
      const target = new URL(name, `file:///${path}`).pathname.slice(1);
      t.true(name.startsWith('.') && assets.has(target), `${path} imports ${name}`);
    }
  }
  t.notRegex(page, /%ASSETS%|<!-- modules -->/);
});

test('only pages are read by GET: the rest is the REST interface', async (t) => {
  const api = await startApi(t);
  t.is((await fetch(`${api.url}/ui/`, { method: 'HEAD' })).status, 200);
  t.is((await fetch(`${api.url}/ui/`, { method: 'POST' })).status, 404);
  t.is((await fetch(`${api.url}/uix`)).status, 404);
});

async function get(base: string, path: string): Promise<{ status: number; headers: Headers; text: string }> {
  const response = await fetch(base + path);
  return { status: response.status, headers: response.headers, text: await response.text() };
}
