import type { ComponentChildren, VNode } from 'preact';
import { html } from '../html.ts';
import type { Live } from '../rest/live.ts';
import type { RestError } from '../rest/rest.ts';
import { exactTime } from './time.ts';

interface NoticeProps {
  readonly kind: 'good' | 'warn' | 'bad' | 'plain';
  readonly title: string;
  readonly children?: ComponentChildren;
}

/** Something that a person should know before the rest. */
export function Notice({ kind, title, children }: NoticeProps): VNode {
  const role = kind === 'bad' || kind === 'warn' ? 'alert' : 'status';
  return html`<div class="notice ${kind}" role=${role}><b>${title}</b> <span>${children}</span></div>`;
}

/** Nothing to show, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }): VNode {
  return html`<div class="empty"><p><b>${title}</b></p><p>${children}</p></div>`;
}

/** What a request's failure means and what to do; nothing for one that didn't fail. What came before stays shown. */
export function Trouble({
  of: live,
}: {
  of: Pick<Live<unknown>, 'error' | 'loadedAt' | 'reload'>;
}): VNode | null {
  const { error, loadedAt, reload } = live;
  if (error === undefined) return null;
  const { title, advice } = explain(error);
  return html`
    <${Notice} kind=${error.mayPass ? 'warn' : 'bad'} title=${title}>
      ${advice}${loadedAt > 0 && ` What is shown is from ${exactTime(new Date(loadedAt).toISOString())}.`}${' '}
      ${error.mayPass && html`<button type="button" class="plain" onClick=${reload}>Try now</button>`}
    <//>
  `;
}

/** A failure in words: what it is, and what to do. */
export function explain(error: RestError): { title: string; advice: string } {
  const { status, message, retryAfterSeconds, requestId } = error;
  const known = requestId === null ? '' : ` The server's log has it under request ${requestId}.`;
  switch (true) {
    case status === 0:
      return {
        title: 'Carnet does not answer.',
        advice: 'Is the server running, and the network up? It is tried again by itself.',
      };
    case status === 403:
      return { title: 'Your role may not do this.', advice: `${message}.` };
    case status === 404:
      return { title: 'Not found.', advice: `${message}.` };
    case status === 409:
      return { title: 'Not now.', advice: `${message}.` };
    case status === 429:
      return {
        title: 'Too many requests.',
        advice: `It is tried again by itself in ${retryAfterSeconds ?? 'some'} s.`,
      };
    case status >= 500:
      return {
        title: 'The server could not answer.',
        advice: `${message}. It is tried again by itself.${known}`,
      };
    default:
      return { title: 'This was refused.', advice: `${message}.` };
  }
}
