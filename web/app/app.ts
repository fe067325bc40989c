import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Frame } from './frame.ts';
import { html } from './html.ts';
import { type Place, usePlace } from './location.ts';
import { SignInPage, Unreachable } from './pages/sign-in.ts';
import { Empty } from './parts/notice.ts';
import { useSession } from './rest/session.ts';
import { findRoute } from './routes.ts';

/** Whoever isn't signed in gets the sign-in, at the very URL of the page that was asked for. */
export function App(): VNode {
  const state = useSession();
  const place = usePlace();
  switch (state.kind) {
    case 'unknown':
      return html`<main class="alone" aria-busy="true"></main>`;
    case 'failed':
      return html`<${Unreachable} error=${state.error} />`;
    case 'signed-out':
      return html`<${SignInPage} ended=${state.ended} />`;
    case 'signed-in':
      return html`<${Frame} session=${state.session} path=${place.path}><${Page} ...${place} /><//>`;
  }
}

function Page({ path, query }: Place): VNode {
  const found = findRoute(path);
  const title = found?.route.title ?? 'No such page';
  useTitle(title, path);
  if (found === undefined)
    return html`<h1 tabindex="-1">No such page</h1>
      <${Empty} title="There is nothing at ${path}">Begin at the <a href="/ui/">overview</a>.<//>`;
  return html`<${found.route.page} key=${path} params=${found.params} query=${query} />`;
}

/** A page that comes is announced: by its title, and by the focus on its heading. The first one keeps the focus as it is. */
function useTitle(title: string, path: string): void {
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${title} · Carnet`;
    if (!isFirst.current) document.querySelector<HTMLElement>('h1')?.focus();
    isFirst.current = false;
  }, [path]);
}
