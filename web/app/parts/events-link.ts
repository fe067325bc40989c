import type { VNode } from 'preact';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { readsEvents, useSession } from '../rest/session.ts';

interface EventsLinkProps {
  /** Filters of the events page. */
  readonly filters: Readonly<Record<string, string>>;
  readonly label: string;
  readonly text?: string;
}

/** To the events of something, for those who may read them. */
export function EventsLink({ filters, label, text = 'events' }: EventsLinkProps): VNode | null {
  const state = useSession();
  if (state.kind !== 'signed-in' || !readsEvents(state.session)) return null;
  return html`<a href=${urlOf('/events', filters)} aria-label=${label}>${text}</a>`;
}
