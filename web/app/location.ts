import { useEffect, useState } from 'preact/hooks';

/** Where all of the UI's paths begin: `/ui/issuances`. */
const BASE = '/ui';
const CHANGED = 'carnet:location';

/** The page that is shown: its path below the UI's own, and the query, which has its filters. */
export interface Place {
  /** `/issuances`; `/` for the first page. */
  readonly path: string;
  readonly query: URLSearchParams;
}

/** The URL of a page, for links: `urlOf('/issuances', { node: 'n1' })`. What is empty is left out. */
export function urlOf(path: string, query: Readonly<Record<string, string | undefined>> = {}): string {
  const given = Object.entries(query).filter((pair): pair is [string, string] => Boolean(pair[1]));
  return `${BASE}${path}${given.length === 0 ? '' : `?${new URLSearchParams(given)}`}`;
}

/** Shows another page. `replace` leaves no step back to this one: for filters that are being typed. */
export function go(url: string, { replace = false } = {}): void {
  if (url === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', url);
  dispatchEvent(new Event(CHANGED));
}

export function usePlace(): Place {
  const [place, setPlace] = useState(currentPlace);
  useEffect(() => {
    const changed = () => setPlace(currentPlace());
    addEventListener(CHANGED, changed);
    addEventListener('popstate', changed);
    return () => {
      removeEventListener(CHANGED, changed);
      removeEventListener('popstate', changed);
    };
  }, []);
  return place;
}

/** Links to our own pages change the page without loading it anew, unless a new tab or a download is meant. */
export function followLinks(): void {
  document.addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    const isPlain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    if (
      !isPlain ||
      event.defaultPrevented ||
      link === null ||
      link.target !== '' ||
      link.hasAttribute('download')
    )
      return;
    const isPage = link.origin === location.origin && link.pathname.startsWith(`${BASE}/`);
    if (!isPage || link.hash !== '') return;
    event.preventDefault();
    go(link.pathname + link.search);
    scrollTo(0, 0);
  });
}

function currentPlace(): Place {
  const path = location.pathname.slice(BASE.length).replace(/\/+$/, '');
  return { path: path === '' ? '/' : path, query: new URLSearchParams(location.search) };
}
