import { html } from '../lib/html.js';
import { Page } from '../parts/page.js';
/** @param {{name: string}} props */
export const SubscriptionPage = ({ name }) => html`<${Page} title=${name} />`;
