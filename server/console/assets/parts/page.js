// The frame of one page: its heading and what stands beside it.
import { useLayoutEffect, useRef } from 'preact/hooks';
import { html } from '../lib/html.js';

/** The path of the page before. The heading of the first page that is shown does not take the focus. @type {string | null} */
let before = null;

/** Has the heading of the next page take the focus, because what has it goes away. */
export function passFocus() { before = ''; }

/**
 * @param {{title: string, heading?: unknown, lead?: unknown, actions?: unknown, fill?: boolean, busy?: boolean, children?: import('../lib/html.js').Children}} props
 *   fill: the page has the height of the window, and a list in it scrolls
 */
export function Page({ title, heading, lead, actions, fill, busy, children }) {
  const head = useRef(/** @type {HTMLHeadingElement | null} */ (null));
  useLayoutEffect(() => { document.title = `${title} · webhook-gateway`; }, [title]);
  useLayoutEffect(() => {
    // Who does not see the page hears where they are.
    if (before !== null && before !== location.pathname) {
      head.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    before = location.pathname;
    return () => { if (head.current && head.current === document.activeElement) passFocus(); };
  }, []);
  return html`
    <div class=${fill ? 'page fill' : 'page'} aria-busy=${busy ? 'true' : undefined}>
      <div class="page-head">
        <div class="page-title"><h1 tabindex="-1" ref=${head}>${heading ?? html`<bdi>${title}</bdi>`}</h1>${lead ? html`<p class="lead">${lead}</p>` : null}</div>
        ${actions ? html`<div class="actions">${actions}</div>` : null}
      </div>
      ${children}
    </div>`;
}
