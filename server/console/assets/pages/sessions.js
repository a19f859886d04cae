import { html } from '../lib/html.js';
import { Page } from '../parts/page.js';
export const Sessions = () => html`<${Page} title="Sessions" />`;
