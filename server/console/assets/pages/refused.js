import { html } from '../lib/html.js';
import { Page } from '../parts/page.js';
export const Refused = () => html`<${Page} title="Refused" />`;
