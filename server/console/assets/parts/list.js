// A list of which only what is seen is drawn.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { html } from '../lib/html.js';
import { useNarrow } from '../lib/load.js';

/** How many rows are drawn above and below what is seen, and in lists whose rows move all the time. */
const BEYOND = 8;
const BEYOND_MOVING = 2;

/**
 * @template T
 * @typedef {object} Column
 * @property {string} name the class of its cells, which gives it its place
 * @property {string} label
 * @property {(row: T) => unknown} cell
 */

/** How high a row is. @param {HTMLElement} box */
const heightOf = (box) => parseFloat(getComputedStyle(box).getPropertyValue('--row')) || 32;

/**
 * @template T
 * @param {object} props
 * @param {string} props.label what it lists
 * @param {Column<T>[]} props.columns
 * @param {T[]} props.rows
 * @param {((row: T) => string)} [props.rowKey] absent: rows are drawn into the same places, which is quicker for those that move all the time
 * @param {() => void} [props.onEnd] its end is near
 * @param {() => void} [props.onTouch] somebody looks at a row of it
 * @param {(e: MouseEvent) => void} [props.onClick]
 * @param {string} [props.kind] its class
 * @param {{row: string, offset: number}} [props.back] the row that has the focus once it is there, and how far below the top it is
 * @param {unknown} [props.children] below the rows
 */
export function List({ label, columns, rows, rowKey, onEnd, onTouch, onClick, kind = '', back, children }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const narrow = useNarrow();
  const [rowHeight, setRowHeight] = useState(32);
  useLayoutEffect(() => {
    const measure = () => {
      if (!box.current) return;
      setHeight(box.current.clientHeight);
      setRowHeight(heightOf(box.current));
    };
    measure();
    const observer = new ResizeObserver(measure);
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, [narrow]);
  const beyond = rowKey ? BEYOND : BEYOND_MOVING;
  const first = Math.max(0, Math.floor(top / rowHeight) - beyond);
  const last = Math.min(rows.length, Math.ceil((top + height) / rowHeight) + beyond);
  useEffect(() => { if (onEnd && last >= rows.length - 2 * BEYOND) onEnd(); }, [last, rows.length]);
  const shown = rows.slice(first, last);
  const wanted = useRef(back);
  useEffect(() => {
    const at = rowKey && wanted.current ? rows.findIndex((row) => rowKey(row) === wanted.current?.row) : -1;
    if (at < 0 || !wanted.current || !box.current) return;
    if (rowHeight !== heightOf(box.current)) return; // it is drawn once it was measured
    box.current.scrollTop = at * rowHeight - wanted.current.offset;
    const link = box.current.querySelector(`[aria-rowindex="${at + 2}"] a[data-open]`);
    if (!(link instanceof HTMLElement)) return; // it is drawn once it was scrolled to
    link.focus({ preventScroll: true });
    wanted.current = undefined;
  });
  return html`
    <div class=${`list ${kind}`} role="table" aria-label=${label} aria-rowcount=${rows.length + 1}>
      <div role="rowgroup" class="list-head"><div role="row" class="list-row" aria-rowindex="1">${columns.map((c) => html`<div key=${c.name} role="columnheader" class=${c.name}>${c.label}</div>`)}</div></div>
      <div role="rowgroup" class="list-body" ref=${box} tabindex="0" aria-label=${label} data-rows onClick=${onClick}
        onScroll=${() => { setTop(box.current?.scrollTop ?? 0); if ((box.current?.scrollTop ?? 0) > 4) onTouch?.(); }}
        onFocusIn=${(/** @type {FocusEvent} */ e) => { if (e.target !== box.current) onTouch?.(); }}>
        <div class="list-space" role="presentation" style=${{ height: `${rows.length * rowHeight}px` }}>
          ${shown.map((row, i) => html`
            <div key=${rowKey ? rowKey(row) : i} role="row" class="list-row" aria-rowindex=${first + i + 2} data-row style=${{ top: `${(first + i) * rowHeight}px` }}>
              ${columns.map((c) => html`<div key=${c.name} role="cell" class=${c.name}>${c.cell(row)}</div>`)}
            </div>`)}
        </div>
        ${children}
      </div>
    </div>`;
}
