import type { Context, Middleware } from 'koa';
import { CarnetError } from '../errors.ts';
import { readUiFiles, type UiFiles } from './ui-files.ts';

const HEADERS = {
  // Nothing but our own files; no markup from strings, whoever wrote them.
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'Cross-Origin-Opener-Policy': 'same-origin',
  'X-Frame-Options': 'DENY',
};
const FOR_EVER = 'public, max-age=31536000, immutable';
const ASSET = /^\/ui\/assets\/([^/]+)\/(.+)$/;

/**
 * Serves the UI: one page for every path below `/ui/`, and its files. They hold no data and take no session; what
 * they show, they ask of the REST interface. Read at the first request: servers that no person opens don't need them.
 */
export function serveUi(read: () => UiFiles = readUiFiles): Middleware {
  let files: UiFiles | undefined;
  return async (ctx, next) => {
    const isOurs = ctx.path === '/' || ctx.path === '/ui' || ctx.path.startsWith('/ui/');
    if (!isOurs || (ctx.method !== 'GET' && ctx.method !== 'HEAD')) return next();
    ctx.state.route = '/ui/';
    ctx.set(HEADERS);
    files ??= read();
    if (!ctx.path.startsWith('/ui/')) ctx.redirect('/ui/');
    else if (ctx.path.startsWith('/ui/assets/')) answerAsset(ctx, files);
    else answerPage(ctx, files);
  };
}

function answerAsset(ctx: Context, { version, assets }: UiFiles): void {
  const [, asked, path = ''] = ASSET.exec(ctx.path) ?? [];
  const asset = asked === version ? assets.get(path) : undefined;
  if (asset === undefined)
    throw new CarnetError(
      'not_found',
      `${ctx.path.slice(0, 200)} is not part of this server's UI, which may be newer than the page: load the page anew`,
    );
  ctx.set({ 'Cache-Control': FOR_EVER, 'Content-Type': asset.mediaType });
  ctx.body = asset.body;
}

function answerPage(ctx: Context, { version, page }: UiFiles): void {
  ctx.set({ 'Cache-Control': 'no-cache', ETag: `"${version}"`, 'Content-Type': 'text/html; charset=utf-8' });
  ctx.body = page;
  if (ctx.fresh) ctx.status = 304;
}
