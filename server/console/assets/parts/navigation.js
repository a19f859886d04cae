// The navigation between pages, and who is signed in.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { readsEvents, signOut, usesSubscriptions } from '../lib/caller.js';
import { html } from '../lib/html.js';
import { BASE, path } from '../lib/router.js';
import { token } from '../lib/token.js';
import { Icon } from './icon.js';
import { shortcutsShown } from './shortcuts.js';
import { ThemeSwitch } from './theme.js';

/** @typedef {import('../lib/types.js').Caller} Caller */

/** @type {{name: string, path: string, icon: string, allowed: (who: Caller | null) => boolean}[]} */
const links = [
  { name: 'Overview', path: '', icon: 'overview', allowed: (who) => Boolean(who?.operator) },
  { name: 'Live', path: 'live', icon: 'live', allowed: readsEvents },
  { name: 'Find', path: 'find', icon: 'find', allowed: readsEvents },
  { name: 'Sessions', path: 'sessions', icon: 'sessions', allowed: readsEvents },
  { name: 'Refused', path: 'refused', icon: 'refused', allowed: (who) => Boolean(who?.operator) },
  { name: 'Subscriptions', path: 'subscriptions', icon: 'subscriptions', allowed: usesSubscriptions },
  { name: 'Streams', path: 'streams', icon: 'streams', allowed: (who) => Boolean(who?.operator) },
];

/** @param {{who: Caller | null}} props */
export function Navigation({ who }) {
  const open = useSignal(false);
  useEffect(() => { open.value = false; }, [path.value]);
  useEffect(() => {
    if (!open.value) return undefined;
    /** @param {KeyboardEvent} e */
    const close = (e) => { if (e.key === 'Escape') open.value = false; };
    addEventListener('keydown', close);
    return () => removeEventListener('keydown', close);
  }, [open.value]);
  const current = path.value.split('/')[0] === 'events' ? 'find' : path.value.split('/')[0];
  return html`
    <header class=${open.value ? 'side open' : 'side'}>
      <div class="brand">
        <a href=${BASE} class="brand-link"><${Icon} name="gateway" /> <span>webhook-gateway</span></a>
        <button type="button" class="menu quiet" aria-expanded=${String(open.value)} aria-controls="menu" onClick=${() => { open.value = !open.value; }}>
          <${Icon} name=${open.value ? 'close' : 'menu'} /><span>Menu</span></button>
      </div>
      <div id="menu" class="menu-body">
        <nav aria-label="Pages"><ul>${links.map((link) => html`
          <li key=${link.path}><a href=${BASE + link.path} aria-current=${link.path === current ? 'page' : undefined} class=${who && !link.allowed(who) ? 'dim' : ''}>
            <${Icon} name=${link.icon} /> ${link.name}${who && !link.allowed(who) ? html`<span class="hidden">, not granted</span>` : null}</a></li>`)}
        </ul></nav>
        <div class="side-end">
          ${who?.accessControl ? html`<p class="who">Signed in as <bdi class="break">${who.name || 'somebody'}</bdi></p>` : null}
          ${token.value ? html`<button type="button" class="quiet" onClick=${signOut}><${Icon} name="out" /> Sign out</button>` : null}
          <${ThemeSwitch} />
          <button type="button" class="quiet" onClick=${() => { shortcutsShown.value = true; }}><${Icon} name="keys" /> Shortcuts <kbd>?</kbd></button>
        </div>
      </div>
    </header>`;
}
