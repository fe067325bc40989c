import type { ComponentChildren, VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import type { SessionBody } from '../../src/api/sessions.ts';
import { html } from './html.ts';
import { go, urlOf } from './location.ts';
import { Mark } from './parts/mark.ts';
import { Notice } from './parts/notice.ts';
import { ThemeChoice } from './parts/theme-choice.ts';
import { Time } from './parts/time.ts';
import { signOut } from './rest/session.ts';
import { ROUTES } from './routes.ts';

interface FrameProps {
  readonly session: SessionBody;
  readonly path: string;
  readonly children: ComponentChildren;
}

/** What stands around every page: where one is, who one is, and the way to everything else. */
export function Frame({ session, path, children }: FrameProps): VNode {
  useSearchKey();
  return html`
    <a class="skip" href="#content">Skip to the content</a>
    <div class="frame">
      <header class="side">
        <a class="brand" href="/ui/"><${Mark} />Carnet</a>
        <nav aria-label="Pages">
          ${ROUTES.filter(({ listed, isFor }) => listed && isFor?.(session) !== false).map(
            (route) =>
              html`<a href=${urlOf(route.path)} aria-current=${isWithin(path, route.path) ? 'page' : null}>${route.title}</a>`,
          )}
        </nav>
        <${Account} session=${session} />
      </header>
      <main id="content" tabindex="-1">
        ${session.notice !== null && html`<${Notice} kind="bad" title=${session.notice}>${session.role} · ${session.actor}<//>`}
        ${children}
      </main>
    </div>
  `;
}

function Account({ session }: { session: SessionBody }): VNode {
  return html`
    <div class="account">
      <${ThemeChoice} />
      <p><b>${session.actor}</b><br /><span class="quiet">${session.role}${session.expires_at !== null && html` · ends <${Time} at=${session.expires_at} />`}</span></p>
      <button type="button" class="plain" onClick=${() => void signOut()}>Sign out</button>
    </div>
  `;
}

/** `/` goes to the page's search, or to the issuances' where a page has none. */
function useSearchKey(): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const isTyping =
        event.target instanceof HTMLElement &&
        event.target.matches('input, textarea, select, [contenteditable]');
      if (event.key !== '/' || isTyping || event.metaKey || event.ctrlKey || event.altKey) return;
      event.preventDefault();
      const search = document.querySelector<HTMLInputElement>('input[type=search]');
      if (search === null) go(urlOf('/issuances'));
      // After a change of page, its heading takes the focus first.
      setTimeout(
        () => document.querySelector<HTMLInputElement>('input[type=search]')?.focus(),
        search ? 0 : 100,
      );
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);
}

function isWithin(path: string, page: string): boolean {
  return page === '/' ? path === '/' : path === page || path.startsWith(`${page}/`);
}
