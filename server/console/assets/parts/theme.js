// The switch between light and dark.
import { signal } from '@preact/signals';
import { html } from '../lib/html.js';
import { Icon } from './icon.js';

const KEY = 'whg-theme';
const chosen = signal(document.documentElement.dataset.theme ?? '');

/** @param {string} theme */
function choose(theme) {
  chosen.value = theme;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    if (theme) localStorage.setItem(KEY, theme);
    else localStorage.removeItem(KEY);
  } catch {
    // Then it lasts until the page is loaded again.
  }
}

export const ThemeSwitch = () => html`
  <label class="theme"><${Icon} name="theme" /> <span>Theme</span>
    <select value=${chosen.value} onChange=${(/** @type {any} */ e) => choose(e.currentTarget.value)}>
      <option value="">System</option><option value="light">Light</option><option value="dark">Dark</option>
    </select></label>`;
