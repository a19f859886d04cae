// The navigation between pages, and who is signed in.
import { useEffect, useRef } from 'preact/hooks';
import { readsEvents, signOut, usesSubscriptions } from '../lib/caller.js';
import { html } from '../lib/html.js';
import { useNarrow } from '../lib/load.js';
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
  // In a narrow window it is opened by the browser, also before the scripts are there.
  const menu = useRef(/** @type {HTMLDivElement | null} */ (null));
  const narrow = useNarrow();
  const at = useRef(path.value);
  useEffect(() => {
    if (!narrow || at.current !== path.value) menu.current?.hidePopover();
    at.current = path.value;
  }, [narrow, path.value]);
  const close = (/** @type {MouseEvent} */ e) => { if (e.target instanceof Element && e.target.closest('a')) menu.current?.hidePopover(); };
  const current = path.value.split('/')[0] === 'events' ? 'find' : path.value.split('/')[0];
  return html`
    <header class="side">
      <div class="brand">
        <a href=${BASE} class="brand-link"><${Icon} name="gateway" /> <span>webhook-gateway</span></a>
        <button type="button" class="menu quiet" popovertarget="menu"><${Icon} name="menu" /><span>Menu</span></button>
      </div>
      <div id="menu" class="menu-body" popover="auto" ref=${menu} onClick=${close}>
        <nav aria-label="Pages"><ul>${links.map((link) => html`
          <li key=${link.path}><a href=${BASE + link.path} aria-current=${link.path === current ? 'page' : undefined} class=${who && !link.allowed(who) ? 'dim' : ''}>
            <${Icon} name=${link.icon} /> ${link.name}${who && !link.allowed(who) ? html`<span class="hidden">, not granted</span>` : null}</a></li>`)}
        </ul></nav>
        <div class="side-end">
          ${who?.accessControl ? html`<p class="who">Signed in as <bdi class="break">${who.name || 'somebody'}</bdi></p>` : null}
          ${token.value ? html`<button type="button" class="quiet" onClick=${signOut}><${Icon} name="out" /> Sign out</button>` : null}
          ${who ? html`<button type="button" class="quiet" onClick=${() => { shortcutsShown.value = true; }}><${Icon} name="keys" /> Shortcuts <kbd>?</kbd></button>` : null}
          <${ThemeSwitch} />
        </div>
      </div>
    </header>`;
}
