// A list of which only what is seen is drawn.
import { Component } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { html } from '../lib/html.js';
import { useNarrow } from '../lib/load.js';

/** How many rows are drawn above and below what is seen, and in lists whose rows move all the time. */
const BEYOND = 8;
const BEYOND_MOVING = 2;
/** How many rows a frame draws anew of a list that is hurried. */
const EACH = 3;
/** How long after a finger left the page it clicks at the latest, in milliseconds. */
const TAP = 50;

/**
 * @template T
 * @typedef {object} Column
 * @property {string} name the class of its cells, which gives it its place
 * @property {string} label
 * @property {(row: T) => unknown} cell
 */

/** In which place a row stands. @param {Element} row */
const placeOf = (row) => Number(row.getAttribute('aria-rowindex')) - 2;

/** How high a row is. @param {HTMLElement} box */
const heightOf = (box) => parseFloat(getComputedStyle(box).getPropertyValue('--row')) || 32;

/**
 * A row, which is drawn again only if it is another one or stands elsewhere.
 * @extends {Component<{row: any, columns: Column<any>[], index: number, top: number}>}
 */
class Row extends Component {
  /** @param {Row['props']} next */
  shouldComponentUpdate(next) {
    const { row, columns, index, top } = this.props;
    return next.row !== row || next.columns !== columns || next.index !== index || next.top !== top;
  }

  /** @param {Row['props']} props */
  render({ row, columns, index, top }) {
    return html`
      <div role="row" class="list-row" aria-rowindex=${index + 2} data-row style=${{ top: `${top}px` }}>
        ${columns.map((c) => html`<div key=${c.name} role="cell" class=${c.name}>${c.cell(row)}</div>`)}
      </div>`;
  }
}

/** Whether a row is pressed: what is clicked has to be what was pressed. */
function usePressed() {
  const pressed = useRef(false);
  useEffect(() => {
    /** @type {number | undefined} */
    let timer;
    const release = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => { pressed.current = false; }, TAP);
    };
    const press = (/** @type {PointerEvent} */ e) => {
      clearTimeout(timer);
      pressed.current = e.target instanceof Element && e.target.closest('[data-row]') !== null;
    };
    addEventListener('pointerdown', press);
    for (const type of ['pointerup', 'pointercancel', 'contextmenu']) addEventListener(type, release);
    return () => {
      clearTimeout(timer);
      removeEventListener('pointerdown', press);
      for (const type of ['pointerup', 'pointercancel', 'contextmenu']) removeEventListener(type, release);
    };
  }, []);
  return pressed;
}

/**
 * The rows that stand in the places from first to last. So many places a frame get the newest, each in
 * its turn: so no frame takes long though all of them move.
 * @template T
 * @param {T[]} rows @param {number} first @param {number} last @param {number} each
 */
function usePlaces(rows, first, last, each) {
  const [, again] = useState(0);
  const held = useRef({ places: /** @type {Map<number, T>} */ (new Map()), turn: 0, frame: /** @type {unknown} */ (null), drawn: 0 });
  const { places, turn } = held.current;
  const frame = document.timeline.currentTime; // the same throughout a frame
  if (held.current.frame !== frame) Object.assign(held.current, { frame, drawn: 0 });
  const size = last - first;
  /** @type {Map<number, T>} */
  const now = new Map();
  let behind = false;
  for (let n = 0; n < size; n++) {
    const i = first + ((turn + n) % size);
    const row = /** @type {T} */ (rows[i]);
    const before = places.get(i);
    if (before === undefined || before === row) {
      now.set(i, row);
    } else if (held.current.drawn < each) {
      now.set(i, row);
      if (++held.current.drawn === each) held.current.turn = i - first + 1;
    } else {
      now.set(i, before);
      behind = true;
    }
  }
  held.current.places = now;
  useLayoutEffect(() => {
    if (!behind) return undefined;
    const next = requestAnimationFrame(() => again((n) => n + 1));
    return () => cancelAnimationFrame(next);
  });
  return Array.from({ length: size }, (_, n) => /** @type {T} */ (now.get(first + n)));
}

/**
 * @template T
 * @param {object} props
 * @param {string} props.label what it lists
 * @param {Column<T>[]} props.columns
 * @param {T[]} props.rows
 * @param {((row: T) => string)} [props.rowKey] absent: rows are drawn into the same places, which is quicker for those that move all the time
 * @param {boolean} [props.hurried] all rows move many times a second
 * @param {() => void} [props.onEnd] its end is near
 * @param {() => void} [props.onTouch] somebody looks at a row of it
 * @param {(e: MouseEvent) => void} [props.onClick]
 * @param {string} [props.kind] its class
 * @param {{row: string, offset: number}} [props.back] the row that has the focus once it is there, and how far below the top it is
 * @param {unknown} [props.children] below the rows
 */
export function List({ label, columns, rows, rowKey, hurried = false, onEnd, onTouch, onClick, kind = '', back, children }) {
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
  const pressed = usePressed();
  const shown = usePlaces(rows, first, last, pressed.current ? 0 : hurried ? EACH : Infinity);
  /** The row that is to have the focus, and how far below the top. */
  const wanted = useRef(back && rowKey && { is: (/** @type {T} */ row) => rowKey(row) === back.row, offset: back.offset });
  /** The row that has the focus. */
  const focused = useRef(/** @type {T | undefined} */ (undefined));
  useLayoutEffect(() => {
    // The focus stays with its row, and the row where it is seen, if another came into its place.
    const { current: mine } = focused;
    const place = box.current?.contains(document.activeElement) && document.activeElement?.closest('[data-row]');
    if (mine !== undefined && box.current && place instanceof HTMLElement && shown[placeOf(place) - first] !== mine) {
      wanted.current = { is: (row) => row === mine, offset: place.offsetTop - box.current.scrollTop };
      focused.current = undefined;
    }
    const at = wanted.current ? rows.findIndex(wanted.current.is) : -1;
    if (at < 0 || !wanted.current || !box.current) return;
    if (rowHeight !== heightOf(box.current)) return; // it is drawn once it was measured
    box.current.scrollTop = at * rowHeight - wanted.current.offset;
    setTop(box.current.scrollTop);
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
        onFocusIn=${(/** @type {any} */ e) => {
          const row = e.target.closest('[data-row]');
          focused.current = row && !rowKey ? shown[placeOf(row) - first] : undefined;
          if (e.target !== box.current) onTouch?.();
        }}>
        <div class="list-space" role="presentation" style=${{ height: `${rows.length * rowHeight}px` }}>
          ${shown.map((row, i) => html`
            <${Row} key=${rowKey ? rowKey(row) : i} row=${row} columns=${columns} index=${first + i} top=${(first + i) * rowHeight} />`)}
        </div>
        ${children}
      </div>
    </div>`;
}
