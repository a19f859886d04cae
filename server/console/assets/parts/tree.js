// A JSON value as a tree.
import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { html } from '../lib/html.js';
import { plural } from '../lib/format.js';

/** Deeper than this it is closed at first. */
const OPEN = 4;
/** How many children are drawn at first. */
const MANY = 200;
/** How much of a text is drawn at first. */
const LONG = 2000;
/** How much deeper than this the lines are not moved in. */
const INDENT = 12;

/** @param {{value: unknown, label: string}} props */
export function Tree({ value, label }) {
  const root = useRef(/** @type {HTMLUListElement | null} */ (null));
  /** @param {KeyboardEvent} e */
  const keys = (e) => {
    const item = e.target instanceof Element ? e.target.closest('[role="treeitem"]') : null;
    if (!item || e.target !== item || e.ctrlKey || e.metaKey || e.altKey) return;
    const all = /** @type {HTMLElement[]} */ ([...(root.current?.querySelectorAll('[role="treeitem"]') ?? [])]);
    const at = all.indexOf(/** @type {HTMLElement} */ (item));
    const open = item.getAttribute('aria-expanded');
    let next;
    switch (e.key) {
      case 'ArrowDown': next = all[at + 1]; break;
      case 'ArrowUp': next = all[at - 1]; break;
      case 'Home': next = all[0]; break;
      case 'End': next = all.at(-1); break;
      case 'ArrowRight':
        if (open === 'false') /** @type {HTMLElement | null} */ (item.querySelector('.twist'))?.click();
        else if (open === 'true') next = all[at + 1];
        break;
      case 'ArrowLeft':
        if (open === 'true') /** @type {HTMLElement | null} */ (item.querySelector('.twist'))?.click();
        else next = item.parentElement?.closest('[role="treeitem"]');
        break;
      case 'Enter': case ' ': /** @type {HTMLElement | null} */ (item.querySelector('.twist'))?.click(); break;
      default: return;
    }
    e.preventDefault();
    if (next instanceof HTMLElement) {
      for (const one of all) one.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }
  };
  const entries = childrenOf(value);
  return html`<ul role="tree" aria-label=${label} class="tree" ref=${root} onKeyDown=${keys}>
    ${entries.length > 0 ? entries.map(([name, child], i) => html`<${Node} key=${name} name=${name} value=${child} depth=${1} first=${i === 0} />`)
      : html`<${Node} name="" value=${value} depth=${1} first />`}</ul>`;
}

/** @param {unknown} value @returns {[string, unknown][]} */
const childrenOf = (value) => (value !== null && typeof value === 'object' ? Object.entries(value) : []);

/** @param {{name: string, value: unknown, depth: number, first?: boolean}} props */
function Node({ name, value, depth, first = false }) {
  const children = childrenOf(value);
  const isParent = value !== null && typeof value === 'object';
  const open = useSignal(depth <= OPEN);
  const shown = useSignal(MANY);
  const head = html`<span class="tree-name"><bdi>${name.length > 200 ? `${name.slice(0, 200)}…` : name}</bdi></span>`;
  if (!isParent || children.length === 0) {
    return html`<li role="treeitem" tabindex=${first ? 0 : -1} aria-level=${depth}><span class="tree-line"><span class="twist-none"></span>${head}<${Leaf} value=${value} /></span></li>`;
  }
  return html`
    <li role="treeitem" tabindex=${first ? 0 : -1} aria-level=${depth} aria-expanded=${String(open.value)}>
      <span class="tree-line"><span class="twist" aria-hidden="true" onClick=${() => { open.value = !open.value; }}>${open.value ? '▾' : '▸'}</span>${head}
        <span class="muted">${Array.isArray(value) ? `[${plural(children.length, 'element')}]` : open.value ? '' : `{${plural(children.length, 'field')}}`}</span></span>
      ${open.value ? html`<ul role="group" class=${depth > INDENT ? 'flat' : ''}>
        ${children.slice(0, shown.value).map(([n, child]) => html`<${Node} key=${n} name=${n} value=${child} depth=${depth + 1} />`)}
        ${children.length > shown.value ? html`<li role="none"><button type="button" class="link" onClick=${() => { shown.value += 5 * MANY; }}>Show more of ${plural(children.length, 'element')}</button></li>` : null}</ul>` : null}
    </li>`;
}

/** @param {{value: unknown}} props */
function Leaf({ value }) {
  const whole = useSignal(false);
  if (typeof value !== 'string') return html`<span class=${`leaf ${value === null ? 'null' : typeof value}`}>${value !== null && typeof value === 'object' ? (Array.isArray(value) ? '[]' : '{}') : String(value)}</span>`;
  const cut = value.length > LONG && !whole.value;
  return html`<span class="leaf string"><bdi>${cut ? `${value.slice(0, LONG)}…` : value}</bdi></span>${cut ? html` <button type="button" class="link" onClick=${() => { whole.value = true; }}>Show all ${value.length.toLocaleString('en')} characters</button>` : null}`;
}
