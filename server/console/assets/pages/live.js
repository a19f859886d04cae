// Events as they arrive.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { post } from '../lib/api.js';
import { count, duration, plural, short } from '../lib/format.js';
import { html } from '../lib/html.js';
import { query } from '../lib/router.js';
import { LiveStream } from '../live/stream.js';
import { eventColumns, FilterBar, filterOf, hasFilter } from '../parts/events.js';
import { Icon } from '../parts/icon.js';
import { List } from '../parts/list.js';
import { Page } from '../parts/page.js';
import { Badge } from '../parts/small.js';
import { Failure } from '../parts/states.js';

/** @typedef {import('../lib/types.js').GatewayEvent} GatewayEvent */

/** How many events the page keeps. */
const KEPT = 1000;
/** How many of the newest it begins with. */
const BEFORE = 50;
const columns = eventColumns(false);
/** @type {GatewayEvent[]} */
const none = [];
/** From how many events a second on it is drawn only now and then, in milliseconds: nobody reads quicker. */
const HURRIED = 20;
const NOW_AND_THEN = 250;

/** The events that are shown, the newest first, and how quickly they come. */
class Window {
  constructor() {
    /** @type {GatewayEvent[]} */
    this.rows = [];
    this.total = 0;
    this.dropped = 0;
    /** When how many events came. @type {{at: number, n: number}[]} */
    this.arrivals = [];
    /** How old the newest event was when it was drawn, in milliseconds. */
    this.delay = NaN;
  }

  /** @param {GatewayEvent[]} fresh the oldest first @param {number} ahead */
  add(fresh, ahead) {
    const now = performance.now();
    if (fresh.length > 0) {
      const newest = fresh.slice(-KEPT).reverse();
      this.dropped += Math.max(0, this.rows.length + fresh.length - KEPT);
      this.rows = newest.length >= KEPT ? newest : [...newest, ...this.rows.slice(0, KEPT - newest.length)];
      this.total += fresh.length;
      this.arrivals.push({ at: now, n: fresh.length });
      this.delay = Math.max(0, Date.now() + ahead - Date.parse(fresh.at(-1)?.receiveTime ?? ''));
    }
    while (this.arrivals[0] && this.arrivals[0].at < now - 5000) this.arrivals.shift();
  }

  /** Events a second, over the last five. */
  get rate() { return this.arrivals.reduce((n, a) => n + a.n, 0) / 5; }

  get hurried() { return this.rate > HURRIED; }
}

/** Keeps a stream for a filter. @param {string} key the query */
function useLive(key) {
  const [, draw] = useState(0);
  const held = useRef(/** @type {{stream: LiveStream, seen: Window} | null} */ (null));
  useEffect(() => {
    const seen = new Window();
    let wanted = false;
    let last = 0;
    let gone = false;
    const paint = () => {
      wanted = false;
      if (gone) return;
      last = performance.now();
      seen.add(stream.drain(), stream.ahead);
      draw((n) => n + 1);
    };
    // At most once a frame.
    const changed = () => {
      if (wanted || gone) return;
      wanted = true;
      const wait = (seen.hurried ? NOW_AND_THEN : 0) - (performance.now() - last);
      if (document.hidden) setTimeout(paint, 250);
      else if (wait > 0) setTimeout(() => requestAnimationFrame(paint), wait);
      else requestAnimationFrame(paint);
    };
    const q = new URLSearchParams(key);
    const filter = filterOf(q);
    const stream = new LiveStream(filter, q.get('from') === 'earliest' ? 'earliest' : '', changed);
    held.current = { stream, seen };
    changed();
    void (async () => {
      if (stream.cursor !== 'earliest') {
        // Those before the stream. They are read after it is known where that begins, however late: nothing falls between.
        void stream.connect();
        await stream.placed;
        if (gone) return;
        const page = await post('/v1/events:list', { filters: [filter], newestFirst: true, view: 'EVENT_VIEW_METADATA', pageSize: BEFORE }).catch(() => ({}));
        const known = new Set([...seen.rows, ...stream.fresh].map((e) => e.id));
        const before = /** @type {GatewayEvent[]} */ (page.events ?? []).filter((e) => !known.has(e.id));
        const old = new Set(before.map((e) => e.id));
        // What the stream brings meanwhile, or later, and is in the page already comes once.
        stream.fresh = stream.fresh.filter((e) => !old.has(e.id));
        seen.rows = [...seen.rows, ...before].slice(0, KEPT);
        stream.known = old;
      } else await stream.connect();
      changed();
    })();
    const tick = setInterval(changed, 1000);
    return () => {
      gone = true;
      clearInterval(tick);
      stream.disconnect();
      held.current = null;
    };
  }, [key]);
  return held.current;
}

/** The state alone: a screen reader says it whenever it changes. @param {LiveStream} stream @returns {[string, string, string]} */
function stateWords(stream) {
  switch (stream.state) {
    case 'live': return ['good', '●', 'Live'];
    case 'catching up': return ['warn', '↻', stream.lag > 0 ? 'Behind' : 'Catching up'];
    case 'paused': return ['plain', '‖', 'Paused'];
    case 'connecting': return ['plain', '…', 'Connecting'];
    case 'failed': return ['bad', '✕', 'Ended'];
    default: return ['bad', '↻', 'Connection lost'];
  }
}

/** What of the state changes all the time. @param {LiveStream} stream */
function stateDetail(stream) {
  if (stream.state === 'catching up' && stream.lag > 0) return `${plural(stream.lag, 'event')} to read`;
  if (stream.state !== 'reconnecting') return '';
  return stream.retryAt === null ? 'Trying again' : `Trying again in ${duration(Math.max(0, Math.round((stream.retryAt - Date.now()) / 1000)))}`;
}

export function Live() {
  const key = query.value.toString();
  const held = useLive(key);
  const stream = held?.stream;
  const seen = held?.seen;
  const paused = stream?.state === 'paused';
  /** @param {boolean} skip */
  const resume = (skip) => {
    // The rows that move are those at the top.
    document.querySelector('.list-body')?.scrollTo(0, 0);
    stream?.resume(skip);
  };
  useEffect(() => {
    /** @param {KeyboardEvent} e */
    const space = (e) => {
      if (e.key !== ' ' || (e.target instanceof Element && e.target.closest('input, select, button, a, dialog, summary')) || document.querySelector('dialog[open]')) return;
      e.preventDefault();
      if (stream?.state === 'paused') resume(false);
      else stream?.pause();
    };
    addEventListener('keydown', space);
    return () => removeEventListener('keydown', space);
  }, [stream]);
  const touch = () => { if (stream && (stream.state === 'live' || stream.state === 'catching up')) stream.pause(); };
  const filterBar = useMemo(() => html`<${FilterBar} />`, []); // the same: it is drawn again only with the query
  const detail = stream ? stateDetail(stream) : '';
  const [tone, sign, text] = stream ? stateWords(stream) : ['plain', '…', 'Connecting'];
  return html`
    <${Page} title="Live" fill busy=${!stream || stream.state === 'connecting'} actions=${html`
      ${paused ? html`<button type="button" class="primary" title="Goes on where it was paused: nothing is skipped" onClick=${() => resume(false)}><${Icon} name="play" /> Resume</button>
          <button type="button" title="Leaves out what came meanwhile" onClick=${() => resume(true)}>Skip to now</button>`
        : html`<button type="button" disabled=${!stream || stream.state === 'failed'} onClick=${() => stream?.pause()}><${Icon} name="pause" /> Pause</button>`}`}>
      ${filterBar}
      <div class="live-bar">
        <span role="status"><${Badge} tone=${tone} sign=${sign}>${text}</${Badge}></span>
        ${detail ? html`<span class="muted num">${detail}</span>` : null}
        <span class="num"><strong>${short(seen?.rate ?? 0)}</strong> events/s</span>
        <span class="num">delay <strong>${seen && Number.isFinite(seen.delay) ? duration(seen.delay / 1000) : '–'}</strong></span>
        <span class="num"><strong>${count(seen?.total)}</strong> since this page was opened</span>
        ${seen && seen.dropped > 0 ? html`<span class="muted">the newest ${count(KEPT)} are kept here</span>` : null}
        ${stream && stream.leftOut > 0 ? html`<span class="muted">${plural(stream.leftOut, 'event')} failed verification and ${stream.leftOut === 1 ? 'is' : 'are'} not shown</span>` : null}
      </div>
      ${stream?.error ? html`<${Failure} error=${stream.error} retry=${stream.state === 'failed' ? () => (stream.error?.reason === 'CONSOLE_REPLACED' ? location.reload() : stream.again()) : undefined} />` : null}
      ${stream?.gaps.map((gap) => html`<div class="note warn" role="status" key=${gap.id}>${gap.text}</div>`)}
      <${List} label="Events" kind="events" columns=${columns} rows=${seen?.rows ?? none} hurried=${Boolean(seen?.hurried) && !paused} onTouch=${touch}>
        ${seen && seen.rows.length === 0 && stream?.state !== 'connecting' ? html`<div class="empty"><p><strong>No event yet.</strong></p>
          <p>${hasFilter(query.value) ? 'Nothing that matches the filter has come since this page was opened. Clear the filter to see everything.' : html`Events appear here as they come. To try it: <code>webhook-gateway trigger finicity.added</code>`}</p></div>` : null}
      </${List}>
    </${Page}>`;
}
