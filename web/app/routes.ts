import type { ComponentType } from 'preact';
import type { SessionBody } from '../../src/api/sessions.ts';
import { AgentsPage } from './pages/agents.ts';
import { AuthoritiesPage } from './pages/authorities.ts';
import { EntriesPage } from './pages/entries.ts';
import { EventsPage } from './pages/events.ts';
import { FleetPage } from './pages/fleet.ts';
import { IssuancePage } from './pages/issuance.ts';
import { IssuancesPage } from './pages/issuances.ts';
import { OverviewPage } from './pages/overview.ts';
import { RevocationsPage } from './pages/revocations.ts';
import { readsEvents } from './rest/session.ts';

export interface PageProps {
  /** What stands in the path for `:name`. */
  readonly params: Readonly<Record<string, string>>;
  /** The page's filters. */
  readonly query: URLSearchParams;
}

interface Route {
  /** Below the UI's own path; `:name` is a parameter. */
  readonly path: string;
  /** Of the document, and in the navigation. */
  readonly title: string;
  readonly page: ComponentType<PageProps>;
  /** Whether the navigation names it. */
  readonly listed: boolean;
  /** Who may read it, where not everybody may: the navigation leads nobody else there. */
  readonly isFor?: (session: SessionBody) => boolean;
}

/** Every page there is, in the order of the navigation. */
export const ROUTES: readonly Route[] = [
  { path: '/', title: 'Overview', page: OverviewPage, listed: true },
  { path: '/issuances', title: 'Issuances', page: IssuancesPage, listed: true },
  { path: '/issuances/:serial', title: 'Issuance', page: IssuancePage, listed: false },
  { path: '/fleet', title: 'Fleet', page: FleetPage, listed: true },
  { path: '/fleet/agents', title: 'Agents', page: AgentsPage, listed: false },
  { path: '/authorities', title: 'Authorities', page: AuthoritiesPage, listed: true },
  { path: '/entries', title: 'Entries', page: EntriesPage, listed: true },
  { path: '/revocations', title: 'Revocations', page: RevocationsPage, listed: true },
  { path: '/events', title: 'Events', page: EventsPage, listed: true, isFor: readsEvents },
];

/** The page of a path, with its parameters; undefined for a path that is none. */
export function findRoute(path: string): { route: Route; params: Record<string, string> } | undefined {
  for (const route of ROUTES) {
    const params = match(route.path, path);
    if (params !== undefined) return { route, params };
  }
  return undefined;
}

function match(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, found] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== found.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = decode(found[index] ?? '');
    if (part.startsWith(':')) params[part.slice(1)] = value;
    else if (part !== value) return undefined;
  }
  return params;
}

/** A path that a person mistyped is a page that isn't there, not an error. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
