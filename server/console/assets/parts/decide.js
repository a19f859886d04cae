// Replays or discards parked events, in portions, after it was confirmed.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { asApiError, get, post, withQuery } from '../lib/api.js';
import { gatewayNow } from '../lib/clock.js';
import { count, int, plural } from '../lib/format.js';
import { html } from '../lib/html.js';
import { signInNeeded } from '../lib/token.js';
import { typeLabel } from '../lib/words.js';
import { Dialog } from './dialog.js';
import { Failure } from './states.js';

/** @typedef {import('../lib/types.js').ParkedEvent} ParkedEvent */
/** @typedef {import('../lib/said.js').Said} Said */

/** How many events one call is for, and are known of at a time. It can be cancelled between two of them. */
const PORTION = 100;
/** How many are named in the dialog. */
const NAMED = 5;

/**
 * @param {{name: string, action: 'replay' | 'discard', ids: string[] | null, total: number, events: ParkedEvent[], onClose: (said: Said | null) => void}} props
 *   ids: null for all that are parked when it begins
 */
export function Decide({ name, action, ids, total, events, onClose }) {
  const typed = useSignal('');
  const running = useSignal(false);
  const done = useSignal(0);
  // What was not parked any more when it was its turn.
  const gone = useSignal(0);
  // What a call was for of which nobody knows what became, and whether there was such a call.
  const unsure = useSignal(0);
  const lost = useRef(false);
  const sum = useSignal(ids ? ids.length : total);
  const error = useSignal(/** @type {import('../lib/api.js').ApiError | null} */ (null));
  const cancelled = useRef(false);
  // What failed is tried again with the portion that failed, and what comes after it.
  const portion = useRef(ids ?? []);
  const next = useRef(/** @type {string | null} */ (ids ? null : ''));
  const began = useRef(0);
  const base = `/v1/subscriptions/${encodeURIComponent(name)}/parkedEvents`;
  const needsWord = action === 'discard' || ids === null;
  const verb = action === 'replay' ? 'Replay' : 'Discard';
  const pastOf = () => (action === 'replay' ? 'replayed' : 'discarded');
  // Whether the page was left, whether the gateway asked for a token, and whether its end was told.
  const left = useRef(false);
  const expired = useRef(false);
  const told = useRef(false);
  const rest = () => portion.current.length > 0 || next.current !== null;
  const past = () => [
    !rest() ? '' : expired.current ? 'The gateway asked for a token before all was done.' : cancelled.current ? 'Cancelled.' : '',
    `${plural(done.value, 'event was', 'events were')} ${pastOf()}.`,
    gone.value > 0 ? `${plural(gone.value, 'other was', 'others were')} no longer parked: somebody else has decided about them${lost.current ? ', or the call that had no answer was done' : ''}.` : '',
    unsure.value > 0 ? `Whether ${plural(unsure.value, 'more was', 'more were')} is not certain: what is still parked was not.` : rest() ? 'The rest was not.' : '',
    expired.current && rest() ? `What is still parked can be ${pastOf()} once you are signed in.` : '',
  ].filter(Boolean).join(' ');
  /** @param {boolean} [ended] it came to an end, or was cancelled */
  const said = (ended = false) => (ended || done.value + gone.value + unsure.value > 0 ? { text: past(), sure: unsure.value === 0 && !(expired.current && rest()) } : null);
  /** @param {Said | null} what */
  const close = (what) => {
    if (!told.current) onClose(what);
    told.current = true;
  };
  // The page may be left, also because the gateway asks for a token. A portion that is under way tells of itself.
  useEffect(() => () => {
    left.current = true;
    cancelled.current = true;
    expired.current ||= signInNeeded.value !== null;
    if (!running.value) close(said());
  }, []);

  /** Reads which come next. Parked events are in the order of the log, so that one that is parked again comes no second time. */
  const read = async () => {
    const page = await get(withQuery(base, { view: 'EVENT_VIEW_METADATA', pageSize: PORTION, pageToken: next.current ?? '' }));
    const parked = /** @type {ParkedEvent[]} */ (page.parkedEvents ?? []);
    portion.current = parked.filter((p) => !(Date.parse(p.parkTime ?? '') > began.current)).map((p) => p.event.id);
    next.current = page.nextPageToken || null;
  };
  const act = async () => {
    try {
      const answer = await post(`${base}:${action}`, { eventIds: portion.current });
      done.value += int(answer.replayedEvents ?? answer.discardedEvents);
      gone.value += (answer.unknownEventIds ?? []).length;
      unsure.value = 0;
      portion.current = [];
    } catch (e) {
      if (asApiError(e).unsure) {
        unsure.value = portion.current.length;
        lost.current = true;
      }
      throw e;
    }
  };
  const run = async () => {
    running.value = true;
    error.value = null;
    cancelled.current = false;
    began.current ||= gatewayNow();
    try {
      while (!cancelled.current && (portion.current.length > 0 || next.current !== null)) await (portion.current.length > 0 ? act() : read());
      close(said(true));
    } catch (e) {
      error.value = asApiError(e);
      running.value = false;
      expired.current ||= error.value.status === 401;
      if (left.current || expired.current) close(said(true));
    }
  };
  const word = action;
  const named = ids ? events.filter((p) => ids.includes(p.event.id)) : [];
  return html`
    <${Dialog} title=${`${verb} ${ids ? plural(ids.length, 'parked event') : 'all parked events'}`} locked=${running.value} onClose=${() => close(said())}>
      <p>${ids ? html`<strong>${plural(ids.length, 'event')}</strong> of <code>${name}</code>` : html`All <strong>${count(total)}</strong> events that are parked in <code>${name}</code>`}
        ${action === 'replay' ? ' will be delivered again, before newer ones, with their attempts counted anew.' : ' will be settled for good. They are not delivered any more, and this cannot be undone. The events themselves stay in the log until retention removes them.'}</p>
      ${named.length > 0 ? html`<ul class="named">${named.slice(0, NAMED).map((p) => html`<li key=${p.event.id}><bdi class="break">${p.event.typeName || typeLabel(p.event.type)}</bdi> <code class="muted break">${p.event.id}</code></li>`)}
        ${named.length > NAMED ? html`<li class="muted">and ${count(named.length - NAMED)} more</li>` : null}</ul>` : null}
      ${needsWord && !running.value ? html`<label class="field confirm">Type ${word} to confirm
        <input autocomplete="off" autocapitalize="off" spellcheck=${false} value=${typed.value} onInput=${(/** @type {any} */ e) => { typed.value = e.currentTarget.value; }} /></label>` : null}
      ${running.value ? html`<div class="field" role="status"><progress max=${Math.max(sum.value, 1)} value=${done.value + gone.value} aria-label=${`${verb}: how far it is`}></progress> <span class="num">${count(done.value + gone.value)} of ${count(sum.value)}</span></div>` : null}
      ${error.value ? html`<${Failure} error=${error.value} acted=${unsure.value > 0} />${said() ? html`<p>${past()}</p>` : null}` : null}
      <div class="dialog-end">
        ${running.value ? html`<button type="button" onClick=${() => { cancelled.current = true; }}>Cancel the rest</button>`
          : html`<button type="button" onClick=${() => close(said())}>Cancel</button>
            <button type="button" class=${action === 'discard' ? 'danger' : 'primary'} disabled=${needsWord && typed.value.trim().toLowerCase() !== word} onClick=${run}>${verb} ${ids ? count(ids.length) : 'all'}</button>`}
      </div>
    </${Dialog}>`;
}
