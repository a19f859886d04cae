// The parked events of a subscription, and deciding about them.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { get, withQuery } from '../lib/api.js';
import { count, plural } from '../lib/format.js';
import { html } from '../lib/html.js';
import { useLoad, useNow } from '../lib/load.js';
import { eventPath } from '../lib/router.js';
import { typeLabel } from '../lib/words.js';
import { Decide } from './decide.js';
import { Ago, Badge, Foreign } from './small.js';
import { Loading, Stale } from './states.js';

/** @typedef {import('../lib/types.js').ParkedEvent} ParkedEvent */

/** How many are on one page. */
const PAGE = 100;

/** @param {{name: string, total: number, locked: boolean, say: (said: import('../lib/said.js').Said) => void}} props */
export function Parked({ name, total, locked, say }) {
  const tokens = useSignal(/** @type {string[]} */ ([]));
  const chosen = useSignal(/** @type {Set<string>} */ (new Set()));
  const deciding = useSignal(/** @type {{action: 'replay' | 'discard', ids: string[] | null} | null} */ (null));
  const pageToken = tokens.value.at(-1) ?? '';
  const { data, error, loading, reload } = useLoad((signal) => get(withQuery(`/v1/subscriptions/${encodeURIComponent(name)}/parkedEvents`, { view: 'EVENT_VIEW_METADATA', pageSize: PAGE, pageToken }), signal), [name, pageToken], total > 0 ? 5000 : 0);
  const before = useRef(total);
  useEffect(() => {
    if (before.current !== total) reload();
    before.current = total;
  }, [total]);
  const now = useNow();
  const events = /** @type {ParkedEvent[]} */ (data?.parkedEvents ?? []);
  const here = events.map((p) => p.event.id);
  // Somebody may have decided about all of this page.
  const emptied = data !== undefined && events.length === 0 && tokens.value.length > 0;
  useEffect(() => { if (emptied) tokens.value = []; }, [emptied]);
  const some = here.filter((id) => chosen.value.has(id));
  /** @param {string[]} ids @param {boolean} on */
  const choose = (ids, on) => {
    const next = new Set(chosen.value);
    for (const id of ids) if (on) next.add(id); else next.delete(id);
    chosen.value = next;
  };
  /** @param {'replay' | 'discard'} action @param {string[] | null} ids */
  const decide = (action, ids) => { deciding.value = { action, ids }; };
  return html`
    <section class="card parked">
      <div class="parked-head"><h2>Parked events</h2>
        <div class="actions">
          <button type="button" disabled=${locked || some.length === 0} onClick=${() => decide('replay', some)}>Replay ${some.length > 0 ? count(some.length) : 'chosen'}</button>
          <button type="button" disabled=${locked || some.length === 0} onClick=${() => decide('discard', some)}>Discard ${some.length > 0 ? count(some.length) : 'chosen'}</button>
          <button type="button" disabled=${locked || events.length === 0} onClick=${() => decide('replay', null)}>Replay all</button>
          <button type="button" disabled=${locked || events.length === 0} onClick=${() => decide('discard', null)}>Discard all</button>
        </div></div>
      ${error ? html`<${Stale} error=${error} retry=${reload} />` : null}
      ${loading ? html`<${Loading} what="the parked events" />` : null}
      ${data && events.length === 0 && !emptied ? html`<p class="muted">None is parked. An event is parked when its attempts have failed, or when a worker says so.</p>` : null}
      ${events.length > 0 ? html`
        <div class="scroll" tabindex="0" role="group" aria-label="Parked events" data-rows><table class="cards">
          <thead><tr><th scope="col"><input type="checkbox" aria-label="Choose all on this page" disabled=${locked} checked=${some.length === here.length} onChange=${(/** @type {any} */ e) => choose(here, e.currentTarget.checked)} /></th>
            <th scope="col">Event</th><th scope="col">Why</th><th scope="col">What the worker said</th><th scope="col" class="right">Failed attempts</th><th scope="col">Parked</th></tr></thead>
          <tbody>${events.map((p) => html`<tr key=${p.event.id} data-row>
            <td data-label="Choose"><input type="checkbox" aria-label=${`Choose ${p.event.typeName || typeLabel(p.event.type) || 'event'} ${p.event.id}`} disabled=${locked} checked=${chosen.value.has(p.event.id)} onChange=${(/** @type {any} */ e) => choose([p.event.id], e.currentTarget.checked)} /></td>
            <td data-label="Event"><a href=${eventPath(p.event.id)} data-open><bdi class="break">${p.event.typeName || typeLabel(p.event.type) || p.event.id}</bdi></a>
              <div class="muted small"><bdi class="break">${p.event.clientId}</bdi>${p.event.subject ? html`, <bdi class="break">${p.event.subject}</bdi>` : p.event.masked?.includes('SENSITIVITY_SUBJECT') ? html`, <span class="masked">masked</span>` : null}</div></td>
            <td data-label="Why"><${Badge} tone="warn">${p.reason === 'PARK_REASON_REJECTED' ? 'Rejected by a worker' : p.reason === 'PARK_REASON_MAX_ATTEMPTS' ? 'Attempts used up' : 'Unknown'}</${Badge}></td>
            <td data-label="Said" class="said"><${Foreign} text=${p.message} none="nothing" /></td>
            <td data-label="Failed attempts" class="right">${count(p.attempts ?? 0)}</td>
            <td data-label="Parked"><${Ago} time=${p.parkTime} now=${now} /></td>
          </tr>`)}</tbody></table></div>
        ${tokens.value.length > 0 || data?.nextPageToken ? html`<p class="actions">
          <button type="button" disabled=${tokens.value.length === 0} onClick=${() => { tokens.value = tokens.value.slice(0, -1); }}>Previous page</button>
          <button type="button" disabled=${!data?.nextPageToken} onClick=${() => { tokens.value = [...tokens.value, data?.nextPageToken]; }}>Next page</button>
          <span class="muted">${plural(total, 'event is', 'events are')} parked</span></p>` : null}` : null}
      ${deciding.value ? html`<${Decide} name=${name} total=${total} action=${deciding.value.action} ids=${deciding.value.ids} events=${events}
        onClose=${(/** @type {import('../lib/said.js').Said | null} */ said) => { deciding.value = null; if (said) { chosen.value = new Set(); tokens.value = []; reload(); say(said); } }} />` : null}
    </section>`;
}
