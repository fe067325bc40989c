import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { html } from '../html.ts';

const SAID_MS = 2500;

/** Puts `text` on the clipboard, which browsers have where they have sessions: on HTTPS and on the machine itself. */
export function Copy({ text, what }: { text: string; what: string }): VNode {
  const [said, setSaid] = useState('');
  useEffect(() => {
    if (said === '') return;
    const timer = setTimeout(() => setSaid(''), SAID_MS);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async (): Promise<void> => {
    const outcome = await navigator.clipboard.writeText(text).then(
      () => 'Copied',
      () => 'Not allowed here',
    );
    setSaid(outcome);
  };
  return html`
    <button type="button" class="plain" aria-label="Copy ${what}" onClick=${() => void copy()}>${said || 'Copy'}</button>
    <span class="unseen" role="status">${said}</span>
  `;
}

/** Lets the browser save `text` under a name. */
export function Download({ text, name, label }: { text: string; name: string; label: string }): VNode {
  const save = (): void => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text]));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return html`<button type="button" class="plain" onClick=${save}>${label}</button>`;
}
