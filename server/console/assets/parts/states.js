// What is shown while there is nothing to show.
import { html } from '../lib/html.js';

/** @param {{what?: string}} props */
export const Loading = ({ what = 'it' }) => html`<div class="loading" aria-busy="true"><span class="spinner" aria-hidden="true"></span> Loading ${what} …</div>`;

/**
 * @param {{error: import('../lib/api.js').ApiError, retry?: (() => void) | undefined, again?: boolean, acted?: boolean}} props
 *   again: it is tried again without being asked; acted: it was to change something
 */
export function Failure({ error, retry, again = false, acted = false }) {
  const waits = again && (error.status === 0 || error.status >= 500);
  return html`
    <div class="note bad" role="alert">
      <p><strong>${error.denied ? 'It is not granted to you.' : acted && error.unsure ? 'It is not certain whether it was done.' : error.status === 0 ? 'No answer.' : 'It did not work.'}</strong> <bdi class="break">${error.message}</bdi></p>
      ${error.hint || waits ? html`<p>${error.hint} ${waits ? 'The console tries again.' : ''}</p>` : null}
      ${retry ? html`<p><button type="button" onClick=${retry}>Try again</button></p>` : null}
    </div>`;
}

/** @param {{needs: string, who: string | undefined}} props */
export const NotGranted = ({ needs, who }) => html`
  <div class="empty">
    <p><strong>This page is not granted to you.</strong></p>
    <p>It needs ${needs}. ${who ? html`You are signed in as <bdi>${who}</bdi>. ` : null}Ask those who run the gateway: grants are in <code>access</code> of its configuration.</p>
  </div>`;

/** @param {{title: string, children?: import('../lib/html.js').Children}} props */
export const Empty = ({ title, children }) => html`<div class="empty"><p><strong>${title}</strong></p>${children}</div>`;

/** That the newest answer failed, above what an older one said. @param {{error: import('../lib/api.js').ApiError | undefined, retry?: () => void}} props */
export const Stale = ({ error, retry }) => (error ? html`<${Failure} error=${error} retry=${retry} again />` : null);
