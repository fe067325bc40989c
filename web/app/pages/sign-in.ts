import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { html } from '../html.ts';
import { Mark } from '../parts/mark.ts';
import { explain, Notice } from '../parts/notice.ts';
import { ThemeChoice } from '../parts/theme-choice.ts';
import { RestError } from '../rest/rest.ts';
import { loadSession, signInWith } from '../rest/session.ts';

/** `ended`: somebody was signed in until now. */
export function SignInPage({ ended }: { ended: boolean }): VNode {
  const [error, setError] = useState<RestError | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const token = new FormData(form).get('token');
    setBusy(true);
    setError(null);
    try {
      await signInWith(String(token).trim());
    } catch (thrown) {
      setError(thrown instanceof RestError ? thrown : new RestError(0, String(thrown), null, null));
      form.reset();
      form.querySelector('input')?.focus();
    } finally {
      setBusy(false);
    }
  };
  return html`
    <main class="alone">
      <div class="pass">
        <p class="brand"><${Mark} />Carnet</p>
        <h1>Sign in</h1>
        ${ended && html`<${Notice} kind="plain" title="Your session has ended.">Sign in to go on where you were.<//>`}
        ${error && html`<${Notice} kind="bad" title=${titleOf(error)}>${error.status === 0 ? explain(error).advice : `${error.message}.`}<//>`}
        <form onSubmit=${submit}>
          <label for="token">Token</label>
          <input id="token" name="token" type="password" required autocomplete="off" autofocus aria-describedby="token-help"
            spellcheck="false" autocapitalize="off" />
          <button type="submit" class="main" disabled=${busy}>${busy ? 'Signing in…' : 'Sign in'}</button>
          <p id="token-help" class="quiet">
            The first ones are files in the server's data directory: <code>auditor.token</code> reads everything,
            ${' '}<code>admin.token</code> also changes things. The token opens a session and is not kept in this browser.
          </p>
        </form>
        <${ThemeChoice} />
      </div>
    </main>
  `;
}

/** Nobody could be asked who we are. */
export function Unreachable({ error }: { error: RestError }): VNode {
  const { title, advice } = explain(error);
  return html`
    <main class="alone">
      <div class="pass">
        <p class="brand"><${Mark} />Carnet</p>
        <h1>${title}</h1>
        <p>${advice}</p>
        <button type="button" class="main" onClick=${() => void loadSession()}>Try now</button>
      </div>
    </main>
  `;
}

function titleOf({ status }: RestError): string {
  if (status === 0) return 'Carnet does not answer.';
  return status === 401 ? 'This token is not taken.' : 'No session was opened.';
}
