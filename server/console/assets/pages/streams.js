import { html } from '../lib/html.js';
import { Page } from '../parts/page.js';
export const Streams = () => html`<${Page} title="Streams" />`;
