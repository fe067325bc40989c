import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { html } from '../html.ts';
import { RestError } from '../rest/rest.ts';
import { explain, Notice } from './notice.ts';

interface ConfirmProps {
  /** On the button that opens it. */
  readonly label: string;
  /** What is about to be done. */
  readonly title: string;
  /** On the button that does it: a verb. */
  readonly verb: string;
  readonly danger?: boolean;
  /** What it means, and fields of the form. */
  readonly children?: ComponentChildren;
  /** Does it, with the form's fields. What it throws is shown, and the dialog stays. */
  readonly act: (fields: Readonly<Record<string, string>>) => Promise<void>;
}

/** A button that asks before it acts. Escape and Cancel leave everything as it was. */
export function Confirm({ label, title, verb, danger = false, children, act }: ConfirmProps): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const [isOpen, setOpen] = useState(false);
  const [error, setError] = useState<RestError | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    if (isOpen) dialog.current?.showModal();
    else dialog.current?.close();
  }, [isOpen]);
  // What it was about may be over while somebody reads it: then the focus is not left nowhere.
  useLayoutEffect(
    () => () => {
      const focused = document.activeElement;
      if (button.current === focused || dialog.current?.contains(focused))
        document.querySelector<HTMLElement>('h1')?.focus();
    },
    [],
  );
  const open = (): void => {
    setError(null);
    setOpen(true);
  };
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.currentTarget as HTMLFormElement));
    setBusy(true);
    setError(null);
    try {
      await act(fields as Record<string, string>);
      setOpen(false);
    } catch (thrown) {
      setError(thrown instanceof RestError ? thrown : new RestError(0, String(thrown), null, null));
    } finally {
      setBusy(false);
    }
  };
  return html`
    <button type="button" class=${danger ? 'danger' : ''} ref=${button} onClick=${open}>${label}</button>
    <dialog ref=${dialog} aria-label=${title} onClose=${() => setOpen(false)}>
      <h2>${title}</h2>
      <form onSubmit=${submit}>
        ${error && html`<${Notice} kind="bad" title=${explain(error).title}>${error.message}.<//>`}
        ${isOpen && children}
        <div class="actions">
          <button type="submit" class=${danger ? 'danger' : 'main'} disabled=${busy}>${busy ? 'Under way…' : verb}</button>
          <button type="button" onClick=${() => setOpen(false)}>Cancel</button>
        </div>
      </form>
    </dialog>
  `;
}
