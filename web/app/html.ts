import htm from 'htm';
import { h, type VNode } from 'preact';

/**
 * Markup in templates: `` html`<p class="note">${text}</p>` ``, components as `` <${Notice} kind="bad">…<//> ``.
 * What is put in is text or more markup, never parsed.
 */
export const html = htm.bind(h) as (strings: TemplateStringsArray, ...values: unknown[]) => VNode;
