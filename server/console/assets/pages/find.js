// Stored events, by what is known of them.
import { useEffect, useRef, useState } from 'preact/hooks';
import { asApiError, post } from '../lib/api.js';
import { count, fromField, int, plural, utc } from '../lib/format.js';
import { html } from '../lib/html.js';
import { eventPath, mark, navigate, query, setQuery } from '../lib/router.js';
import { token } from '../lib/token.js';
import { eventColumns, FilterBar, filterOf, hasFilter } from '../parts/events.js';
import { List } from '../parts/list.js';
import { Page } from '../parts/page.js';
import { Failure } from '../parts/states.js';

/** @typedef {import('../lib/types.js').GatewayEvent} GatewayEvent */

const PAGE = 200;
/** How many pages in which nothing matches are searched without asking. */
const EMPTY_PAGES = 30;
const columns = eventColumns(true);

/**
 * @typedef {object} Found
 * @property {GatewayEvent[]} events
 * @property {string} token empty: there are no more
 * @property {boolean} loading
 * @property {boolean} tired many pages had nothing: somebody has to say whether to go on
 * @property {number} leftOut
 * @property {import('../lib/api.js').ApiError | undefined} error
 */

/** @returns {Found} */
const nothing = () => ({ events: [], token: '', loading: true, tired: false, leftOut: 0, error: undefined });

/** How many events are read anew to come back to one. */
const MOST_AGAIN = 2000;

/** What was found last, for who comes back to it. */
let last = { key: '', token: '', found: nothing() };

/** Searches for what the URL asks, page by page. @param {string} key the query @param {boolean} back somebody comes back to it */
function useFound(key, back) {
  const [found, setFound] = useState(nothing);
  const control = useRef({ more: () => {} });
  useEffect(() => {
    const stop = new AbortController();
    const q = new URLSearchParams(key);
    const after = fromField(q.get('after') ?? '');
    const before = fromField(q.get('before') ?? '');
    const request = { filters: [filterOf(q)], newestFirst: true, view: 'EVENT_VIEW_METADATA', pageSize: PAGE, ...(after && { startTime: after }), ...(before && { endTime: before }) };
    let state = back && last.key === key && last.token === token.value && last.found.events.length > 0 ? last.found : nothing();
    let busy = false;
    const show = (/** @type {Partial<Found>} */ next) => { state = { ...state, ...next }; if (!stop.signal.aborted) { setFound(state); last = { key, token: token.value, found: state }; } };
    const more = async () => {
      if (busy || stop.signal.aborted) return;
      busy = true;
      show({ loading: true, tired: false, error: undefined });
      try {
        for (let pages = 0; ; pages++) {
          const page = await post('/v1/events:list', { ...request, pageToken: state.token }, stop.signal);
          const events = /** @type {GatewayEvent[]} */ (page.events ?? []);
          show({ events: [...state.events, ...events], token: page.nextPageToken ?? '', leftOut: state.leftOut + int(page.leftOutEvents) });
          if (events.length > 0 || !state.token) break;
          if (pages >= EMPTY_PAGES) { show({ tired: true }); break; }
        }
        show({ loading: false });
      } catch (e) {
        show({ loading: false, error: asApiError(e) });
      }
      busy = false;
    };
    setFound(state);
    control.current.more = () => void more();
    if (state.loading) void more();
    return () => stop.abort();
  }, [key]);
  return { found, more: () => control.current.more() };
}

/** An id leads to its event. @param {Record<string, string>} values */
function toEvent(values) {
  if (!values.id) return false;
  navigate(eventPath(values.id));
  return true;
}

/** The row that somebody comes back to. @returns {{row: string, offset: number} | undefined} */
const comingBack = () => (typeof history.state?.row === 'string' ? history.state : undefined);

/** Keeps which row is left, for who comes back. @param {any} e */
function leave(e) {
  const row = e.target.closest('a[data-open]')?.closest('[data-row]');
  const id = row?.querySelector('a[data-open]')?.getAttribute('href').split('/').at(-1);
  if (id) mark({ row: decodeURIComponent(id), offset: row.getBoundingClientRect().top - row.closest('[data-rows]').getBoundingClientRect().top });
}

export function Find() {
  const q = query.value;
  const [back] = useState(comingBack);
  const { found, more } = useFound(q.toString(), back !== undefined);
  const { events, token: next, loading, tired, leftOut, error } = found;
  const oldest = events.at(-1)?.receiveTime;
  // What was found is not there any more after the page was loaded anew.
  useEffect(() => {
    if (back && next && !loading && !tired && !error && events.length < MOST_AGAIN && !events.some((e) => e.id === back.row)) more();
  }, [found]);
  return html`
    <${Page} title="Find" fill busy=${loading && events.length === 0}>
      <${FilterBar} full onSubmit=${toEvent} />
      <div class="live-bar" role="status">
        <span class="num"><strong>${count(events.length)}</strong> ${events.length === 1 ? 'event' : 'events'}${next ? ' so far' : ''}, newest first</span>
        ${oldest && next ? html`<span class="muted num">back to ${utc(oldest, { millis: false })} UTC</span>` : null}
        ${loading ? html`<span class="muted">searching …</span>` : null}
        ${leftOut > 0 && !q.get('verdict') ? html`<span class="muted">${plural(leftOut, 'event')} failed verification and ${leftOut === 1 ? 'is' : 'are'} not listed. <button type="button" class="link" onClick=${() => setQuery({ verdict: 'VERIFICATION_VERDICT_FAILED' })}>List those</button></span>` : null}
      </div>
      ${error ? html`<${Failure} error=${error} retry=${more} />` : null}
      <${List} label="Events" kind="events dated" columns=${columns} rows=${events} rowKey=${(/** @type {GatewayEvent} */ e) => e.id} back=${back} onClick=${leave} onEnd=${() => { if (next && !loading && !tired && !error) more(); }}>
        ${tired ? html`<div class="empty"><p>Nothing more was found in the part that was searched.</p><p><button type="button" onClick=${more}>Search on</button></p></div>` : null}
        ${!loading && !tired && !error && events.length === 0 ? html`<div class="empty"><p><strong>No event matches.</strong></p>
          <p>${hasFilter(q) ? 'Widen the time range, or clear a condition. What failed verification is listed only if the verdict asks for it.' : 'Nothing is stored yet. What a provider sent and is not here may be in Refused.'}</p></div>` : null}
        ${!loading && !next && !error && events.length > 0 ? html`<p class="list-end">These are all${hasFilter(q) ? ' that match' : ' that are stored'}.</p>` : null}
      </${List}>
    </${Page}>`;
}
