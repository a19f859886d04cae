// A JSON value as a tree.
import { useSignal } from '@preact/signals';
import { useMemo, useRef } from 'preact/hooks';
import { html } from '../lib/html.js';
import { plural } from '../lib/format.js';

/** Deeper than this it is closed at first. */
const OPEN = 4;
/** How many children are drawn at first. */
const MANY = 200;
/** How many lines are drawn at first, in all. */
const LINES = 1000;
/** How much of a text is drawn at first, and how much more at a time. */
const LONG = 2000;
const MORE = 64 << 10;
/** How much deeper than this the lines are not moved in. */
const INDENT = 12;

/** @param {{value: unknown, label: string}} props */
export function Tree({ value, label }) {
  const opened = useMemo(() => openedAtFirst(value), [value]);
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
  return html`<ul role="tree" aria-label=${label} class="tree" ref=${root} onKeyDown=${keys}>
    ${sizeOf(value) > 0 ? html`<${Children} value=${value} depth=${1} opened=${opened} />`
      : html`<${Node} name="" value=${value} depth=${1} opened=${opened} first />`}</ul>`;
}

/** How many children a value has. @param {unknown} value */
const sizeOf = (value) => (Array.isArray(value) ? value.length : value !== null && typeof value === 'object' ? Object.keys(value).length : 0);

/** The first children of a value, by their names. @param {unknown} value @param {number} most @returns {[string, unknown][]} */
const childrenOf = (value, most) => (Array.isArray(value) ? value.slice(0, most).map((child, i) => [String(i), child]) : Object.entries(value ?? {}).slice(0, most));

/** The parents that are open at first: those near the root, as long as there is room for their children. @param {unknown} value */
function openedAtFirst(value) {
  /** @type {Set<unknown>} */
  const opened = new Set();
  let room = LINES;
  let level = [value];
  for (let depth = 0; depth <= OPEN; depth++) {
    const below = [];
    for (const parent of level) {
      const drawn = Math.min(sizeOf(parent), MANY);
      if (drawn > room) continue;
      room -= drawn;
      opened.add(parent);
      for (const [, child] of childrenOf(parent, MANY)) if (sizeOf(child) > 0) below.push(child);
    }
    level = below;
  }
  return opened;
}

/** @param {{value: unknown, depth: number, opened: Set<unknown>}} props */
function Children({ value, depth, opened }) {
  const shown = useSignal(MANY);
  const size = sizeOf(value);
  return html`
    ${childrenOf(value, shown.value).map(([name, child], i) => html`<${Node} key=${name} name=${name} value=${child} depth=${depth} opened=${opened} first=${depth === 1 && i === 0} />`)}
    ${size > shown.value ? html`<li role="none"><button type="button" class="link" onClick=${() => { shown.value += 5 * MANY; }}>Show more of ${plural(size, 'element')}</button></li>` : null}`;
}

/** @param {{name: string, value: unknown, depth: number, opened: Set<unknown>, first?: boolean}} props */
function Node({ name, value, depth, opened, first = false }) {
  const size = sizeOf(value);
  const open = useSignal(opened.has(value));
  const head = html`<span class="tree-name"><bdi>${name.length > 200 ? `${name.slice(0, 200)}…` : name}</bdi></span>`;
  if (size === 0) {
    return html`<li role="treeitem" tabindex=${first ? 0 : -1} aria-level=${depth}><span class="tree-line"><span class="twist-none"></span>${head}<${Leaf} value=${value} /></span></li>`;
  }
  return html`
    <li role="treeitem" tabindex=${first ? 0 : -1} aria-level=${depth} aria-expanded=${String(open.value)}>
      <span class="tree-line"><span class="twist" aria-hidden="true" onClick=${() => { open.value = !open.value; }}>${open.value ? '▾' : '▸'}</span>${head}
        <span class="muted">${Array.isArray(value) ? `[${plural(size, 'element')}]` : open.value ? '' : `{${plural(size, 'field')}}`}</span></span>
      ${open.value ? html`<ul role="group" class=${depth > INDENT ? 'flat' : ''}><${Children} value=${value} depth=${depth + 1} opened=${opened} /></ul>` : null}
    </li>`;
}

/** @param {{value: unknown}} props */
function Leaf({ value }) {
  const shown = useSignal(LONG);
  if (typeof value !== 'string') return html`<span class=${`leaf ${value === null ? 'null' : typeof value}`}>${value !== null && typeof value === 'object' ? (Array.isArray(value) ? '[]' : '{}') : String(value)}</span>`;
  const cut = value.length > shown.value;
  return html`<span class="leaf string"><bdi>${cut ? `${value.slice(0, shown.value)}…` : value}</bdi></span>${cut ? html` <button type="button" class="link" onClick=${() => { shown.value += MORE; }}>Show ${value.length > shown.value + MORE ? 'more of' : 'all'} ${plural(value.length, 'character')}</button>` : null}`;
}
