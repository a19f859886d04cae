import { html } from '../lib/html.js';
import { Page } from '../parts/page.js';
export const Subscriptions = () => html`<${Page} title="Subscriptions" />`;
