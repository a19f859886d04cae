// The switch between light and dark. What it does is in the other theme.js, which the page has before this.
import { html } from '../lib/html.js';
import { Icon } from './icon.js';

export const ThemeSwitch = () => html`
  <label class="theme"><${Icon} name="theme" /> <span>Theme</span>
    <select value=${document.documentElement.dataset.theme ?? ''} autocomplete="off">
      <option value="">System</option><option value="light">Light</option><option value="dark">Dark</option>
    </select></label>`;
