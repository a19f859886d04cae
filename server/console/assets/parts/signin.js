// Asks for a token.
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { signIn } from '../lib/caller.js';
import { html } from '../lib/html.js';
import { said } from '../lib/said.js';
import { hintOf } from '../lib/words.js';
import { Icon } from './icon.js';
import { passFocus } from './page.js';

/** @param {{why: {message: string, reason: string}}} props */
export function SignIn({ why }) {
  const busy = useSignal(false);
  const token = useRef(/** @type {HTMLInputElement | null} */ (null));
  useLayoutEffect(() => passFocus, []);
  // At first, and when a token was not taken.
  useEffect(() => { token.current?.focus(); }, [why]);
  useEffect(() => { document.title = 'Sign in · webhook-gateway'; }, []);
  const quiet = why.reason === 'CREDENTIALS_MISSING' || why.reason === 'SIGNED_OUT';
  /** @param {SubmitEvent} e */
  const submit = async (e) => {
    e.preventDefault();
    const form = /** @type {HTMLFormElement} */ (e.currentTarget);
    const field = /** @type {HTMLInputElement} */ (form.elements.namedItem('token'));
    const value = field.value.trim();
    field.value = '';
    busy.value = true;
    await signIn(value);
    busy.value = false;
  };
  return html`
    <main class="signin">
      <form onSubmit=${submit} autocomplete="off">
        <h1><${Icon} name="gateway" /> webhook-gateway</h1>
        <p>This gateway asks its callers who they are. Sign in with a token that it knows, or of the issuer that it trusts.</p>
        ${quiet ? null : html`<div class="note bad" role="alert" key=${why.message}><p>The token was not taken: <bdi>${why.message}</bdi></p><p>${hintOf(why.reason)}</p></div>`}
        ${said.value ? html`<p class="note warn" role="status"><code class="break">${said.value.name}</code>: ${said.value.text}</p>` : null}
        <label for="token">Token</label>
        <input id="token" name="token" type="password" required autocomplete="off" spellcheck=${false} ref=${token} />
        <button type="submit" class="primary" disabled=${busy.value}>Sign in</button>
        <p class="muted">It is kept in this tab only, until the tab is closed or you sign out.</p>
      </form>
    </main>`;
}
