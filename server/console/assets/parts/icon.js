// Small drawings beside words. They say nothing by themselves.
import { html } from '../lib/html.js';

/** @type {Record<string, string>} */
const paths = {
  gateway: 'M3 4h5a3 3 0 0 1 3 3v2a3 3 0 0 0 3 3h0M12 9l3 3-3 3',
  overview: 'M2 13h12M4 11V7M8 11V3M12 11V6',
  live: 'M1 8h3l2-5 3 10 2-5h4',
  find: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9ZM10.5 10.5 14 14',
  sessions: 'M3 4h2M3 8h2M3 12h2M8 4h5M8 8h5M8 12h3',
  refused: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM3.8 3.8l8.4 8.4',
  subscriptions: 'M2 4h12M2 8h12M2 12h7M12 11v4M10 13h4',
  streams: 'M2 5c3-3 5 3 8 0s4 0 4 0M2 11c3-3 5 3 8 0s4 0 4 0',
  menu: 'M2 4h12M2 8h12M2 12h12',
  out: 'M6 2H3v12h3M7 8h7M11 5l3 3-3 3',
  keys: 'M1.5 4h13v8h-13zM4 6.5h.5M7 6.5h.5M10 6.5h.5M12 6.5h.5M5 9.5h6',
  theme: 'M8 2a6 6 0 1 0 0 12ZM8 2a6 6 0 0 1 0 12',
  copy: 'M5 5V2h9v9h-3M2 5h9v9H2z',
  pause: 'M5 3v10M11 3v10',
  play: 'M4 2.5 13 8l-9 5.5z',
};

/** @param {{name: string}} props */
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d=${paths[name] ?? ''} /></svg>`;
