// Replays or discards parked events, in portions, after it was confirmed.
import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { asApiError, get, post, withQuery } from '../lib/api.js';
import { count, int, plural } from '../lib/format.js';
import { html } from '../lib/html.js';
import { typeLabel } from '../lib/words.js';
import { Dialog } from './dialog.js';
import { Failure } from './states.js';

/** @typedef {import('../lib/types.js').ParkedEvent} ParkedEvent */

/** How many events one call is for. It can be cancelled between two of them. */
const PORTION = 100;
/** How many are named in the dialog. */
const NAMED = 5;

/**
 * @param {{name: string, action: 'replay' | 'discard', ids: string[] | null, total: number, events: ParkedEvent[], onClose: (said: string) => void}} props
 *   ids: null for all that are parked when it begins
 */
export function Decide({ name, action, ids, total, events, onClose }) {
  const typed = useSignal('');
  const running = useSignal(false);
  const done = useSignal(0);
  const sum = useSignal(ids ? ids.length : total);
  const error = useSignal(/** @type {import('../lib/api.js').ApiError | null} */ (null));
  const cancelled = useRef(false);
  // What failed is tried again with the portion that failed, and what comes after it.
  const wanted = useRef(ids);
  const at = useRef(0);
  const base = `/v1/subscriptions/${encodeURIComponent(name)}/parkedEvents`;
  const needsWord = action === 'discard' || ids === null;
  const verb = action === 'replay' ? 'Replay' : 'Discard';
  const past = () => `${plural(done.value, 'event was', 'events were')} ${action === 'replay' ? 'replayed' : 'discarded'}.`;

  /** All that are parked now: those that are parked again meanwhile are not meant. @returns {Promise<string[]>} */
  const all = async () => {
    /** @type {string[]} */
    const found = [];
    let pageToken = '';
    do {
      const page = await get(withQuery(base, { view: 'EVENT_VIEW_METADATA', pageSize: 1000, pageToken }));
      for (const parked of page.parkedEvents ?? []) found.push(parked.event.id);
      pageToken = page.nextPageToken ?? '';
      sum.value = Math.max(sum.value, found.length);
    } while (pageToken && !cancelled.current);
    return found;
  };
  const run = async () => {
    running.value = true;
    error.value = null;
    cancelled.current = false;
    try {
      if (!wanted.current) {
        wanted.current = await all();
        sum.value = wanted.current.length;
      }
      for (; at.current < wanted.current.length && !cancelled.current; at.current += PORTION) {
        const answer = await post(`${base}:${action}`, { eventIds: wanted.current.slice(at.current, at.current + PORTION) });
        done.value += int(answer.replayedEvents ?? answer.discardedEvents);
      }
      onClose(cancelled.current ? `Cancelled. ${past()}` : past());
    } catch (e) {
      error.value = asApiError(e);
      running.value = false;
    }
  };
  const word = action;
  const named = ids ? events.filter((p) => ids.includes(p.event.id)) : [];
  return html`
    <${Dialog} title=${`${verb} ${ids ? plural(ids.length, 'parked event') : 'all parked events'}`} locked=${running.value} onClose=${() => onClose(done.value > 0 ? past() : '')}>
      <p>${ids ? html`<strong>${plural(ids.length, 'event')}</strong> of <code>${name}</code>` : html`All <strong>${count(total)}</strong> events that are parked in <code>${name}</code>`}
        ${action === 'replay' ? ' will be delivered again, before newer ones, with their attempts counted anew.' : ' will be settled for good. They are not delivered any more, and this cannot be undone. The events themselves stay in the log until retention removes them.'}</p>
      ${named.length > 0 ? html`<ul class="named">${named.slice(0, NAMED).map((p) => html`<li key=${p.event.id}><bdi class="break">${p.event.typeName || typeLabel(p.event.type)}</bdi> <code class="muted break">${p.event.id}</code></li>`)}
        ${named.length > NAMED ? html`<li class="muted">and ${count(named.length - NAMED)} more</li>` : null}</ul>` : null}
      ${needsWord && !running.value ? html`<label class="field confirm">Type ${word} to confirm
        <input autocomplete="off" autocapitalize="off" spellcheck=${false} value=${typed.value} onInput=${(/** @type {any} */ e) => { typed.value = e.currentTarget.value; }} /></label>` : null}
      ${running.value ? html`<div class="field" role="status"><progress max=${Math.max(sum.value, 1)} value=${done.value} aria-label=${`${verb}: how far it is`}></progress> <span class="num">${count(done.value)} of ${count(sum.value)}</span></div>` : null}
      ${error.value ? html`<${Failure} error=${error.value} />${done.value > 0 ? html`<p>${past()}</p>` : null}` : null}
      <div class="dialog-end">
        ${running.value ? html`<button type="button" onClick=${() => { cancelled.current = true; }}>Cancel the rest</button>`
          : html`<button type="button" onClick=${() => onClose(done.value > 0 ? past() : '')}>Cancel</button>
            <button type="button" class=${action === 'discard' ? 'danger' : 'primary'} disabled=${needsWord && typed.value.trim().toLowerCase() !== word} onClick=${run}>${verb} ${ids ? count(ids.length) : 'all'}</button>`}
      </div>
    </${Dialog}>`;
}
