// Moves a subscription, after a look at what that would deliver.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { asApiError, post } from '../lib/api.js';
import { count, fromField, int, plural } from '../lib/format.js';
import { html } from '../lib/html.js';
import { Dialog } from './dialog.js';
import { Failure } from './states.js';

/** @typedef {import('../lib/types.js').SeekPreview} SeekPreview */

const UNSURE = 'Whether it was moved is not certain: its page says where it stands.';

/** @param {{name: string, onClose: (said: import('../lib/said.js').Said | null) => void}} props */
export function Seek({ name, onClose }) {
  const where = useSignal('earliest');
  const time = useSignal('');
  const cursor = useSignal('');
  const busy = useSignal(false);
  const preview = useSignal(/** @type {SeekPreview | null} */ (null));
  const error = useSignal(/** @type {import('../lib/api.js').ApiError | null} */ (null));
  // Whether the newest call was to move it, and whether nobody knows what became of such a call.
  const moving = useSignal(false);
  const unsure = useSignal(false);
  // Whether the page was left, as when the gateway asks for a token, and whether the end was told.
  const left = useRef(false);
  const told = useRef(false);
  const start = () => {
    switch (where.value) {
      case 'earliest': return { position: 'START_POSITION_EARLIEST' };
      case 'latest': return { position: 'START_POSITION_LATEST' };
      case 'time': return { time: fromField(time.value) };
      default: return { cursor: cursor.value.trim() };
    }
  };
  const complete = (where.value !== 'time' || fromField(time.value) !== '') && (where.value !== 'cursor' || cursor.value.trim() !== '');
  const changed = () => { preview.value = null; error.value = null; };
  /** @param {object} body @param {(answer: any) => void} then */
  const ask = async (body, then) => {
    if (busy.value) return;
    busy.value = true;
    error.value = null;
    try {
      then(await post(`/v1/subscriptions/${encodeURIComponent(name)}:seek`, body));
    } catch (e) {
      error.value = asApiError(e);
    }
    busy.value = false;
    return error.value;
  };
  const look = async () => {
    moving.value = false;
    await ask({ start: start(), validateOnly: true }, (a) => { preview.value = a.preview ?? {}; });
    if (left.current) close();
  };
  // What is moved to is the place that was looked at, not the one that has the same name by then.
  const move = async () => {
    moving.value = true;
    const failed = await ask({ start: where.value === 'latest' || !preview.value?.cursor ? start() : { cursor: preview.value.cursor } }, () => end({ text: 'It was moved.', sure: true }));
    // It may stand elsewhere by now, so that what was looked at does not hold any more.
    if (failed?.unsure) {
      unsure.value = true;
      preview.value = null;
    }
    if (failed?.status === 401) end({ text: `The gateway asked for a token. ${unsure.value ? UNSURE : 'It was not moved: move it once you are signed in.'}`, sure: false });
    else if (failed && left.current) close();
  };
  /** @param {import('../lib/said.js').Said | null} said */
  const end = (said) => {
    if (!told.current) onClose(said);
    told.current = true;
  };
  const close = () => end(unsure.value ? { text: UNSURE, sure: false } : null);
  useEffect(() => () => {
    left.current = true;
    if (!busy.value) close();
  }, []);
  /** @param {string} value @param {string} label */
  const choice = (value, label) => html`<label class="choice-line"><input type="radio" name="where" value=${value} checked=${where.value === value} onChange=${() => { where.value = value; changed(); }} /> ${label}</label>`;
  return html`
    <${Dialog} title=${`Move ${name}`} onClose=${close} locked=${busy.value}>
      <fieldset class="choices" disabled=${busy.value}><legend>Deliver everything after</legend>
        ${choice('earliest', 'the beginning: the earliest event that is kept')}
        ${choice('latest', 'the newest event: skip all that is there')}
        ${choice('time', 'a time')}
        ${where.value === 'time' ? html`<input type="datetime-local" step="1" aria-label="Time in UTC" value=${time.value} onInput=${(/** @type {any} */ e) => { time.value = e.currentTarget.value; changed(); }} /> <span class="muted">UTC</span>` : null}
        ${choice('cursor', 'a cursor')}
        ${where.value === 'cursor' ? html`<input class="wide" aria-label="Cursor" autocomplete="off" spellcheck=${false} value=${cursor.value} onInput=${(/** @type {any} */ e) => { cursor.value = e.currentTarget.value; changed(); }} />` : null}
      </fieldset>
      <div role="status" class="field">${preview.value ? html`<${Preview} preview=${preview.value} />` : busy.value ? 'Looking …' : null}</div>
      ${error.value ? html`<${Failure} error=${error.value} acted=${moving.value} />` : null}
      ${unsure.value ? html`<p>Whether it was moved is not certain. A preview says what would be delivered from where it stands now.</p>` : null}
      <p class="muted">What workers hold is fenced and comes again. Parked events stay.</p>
      <div class="dialog-end">
        <button type="button" disabled=${busy.value} onClick=${close}>Cancel</button>
        <button type="button" class=${preview.value ? '' : 'primary'} disabled=${!complete} onClick=${look}>Preview</button>
        <button type="button" class="primary" disabled=${!preview.value} onClick=${move}>Move it there</button>
      </div>
    </${Dialog}>`;
}

/** @param {{preview: SeekPreview}} props */
function Preview({ preview }) {
  const least = preview.exact ? '' : 'at least ';
  const again = int(preview.repeatedEvents);
  return html`
    <div class=${`note ${again > 0 ? 'warn' : ''}`}>
      <p>It would deliver ${least}<strong>${plural(preview.matchingEvents, 'event')}</strong>, of ${count(preview.logEvents)} in the log after that place.</p>
      ${again > 0 ? html`<p>${least ? 'At least ' : ''}<strong>${count(again)}</strong> of them come before where it stands now, and would be delivered again.</p>` : html`<p>None of them is known to be delivered again.</p>`}
    </div>`;
}
