import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { SignInMethodsBody } from '../../../src/api/oidc-sign-in.ts';
import { html } from '../html.ts';
import { Mark } from '../parts/mark.ts';
import { explain, Notice } from '../parts/notice.ts';
import { ThemeChoice } from '../parts/theme-choice.ts';
import { useLive } from '../rest/live.ts';
import { RestError } from '../rest/rest.ts';
import { loadSession, signInWith } from '../rest/session.ts';

/** `ended`: somebody was signed in until now. */
export function SignInPage({ ended }: { ended: boolean }): VNode {
  const [error, setError] = useState<RestError | null>(null);
  const [busy, setBusy] = useState(false);
  const methods = useLive<SignInMethodsBody>('/v1/session/methods');
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
        ${methods.data?.oidc && html`<${ProviderSignIn} issuer=${methods.data.oidc.issuer} />`}
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

/** By the OpenID provider, which sends the browser back to this very page. */
function ProviderSignIn({ issuer }: { issuer: string }): VNode {
  const back = encodeURIComponent(location.pathname + location.search);
  return html`
    <div class="provider">
      <a class="button" href="/v1/session/oidc?to=${back}">Sign in with ${new URL(issuer).host}</a>
      <details>
        <summary>In an emergency</summary>
        <p class="quiet"><a href="/v1/session/oidc?role=break-glass&to=${back}">Break the glass</a>: every right for an hour, if your
          provider gives you that role. Everybody is told, and all that you do is on record.</p>
      </details>
    </div>
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
