// Which Finicity customers got stuck in Connect.
import { useEffect, useState } from 'preact/hooks';
import { asApiError, get, withQuery } from '../lib/api.js';
import { ago, clock, duration, int, plural, utc } from '../lib/format.js';
import { html } from '../lib/html.js';
import { useLoad, useNow } from '../lib/load.js';
import { BASE, eventPath, query, setQuery } from '../lib/router.js';
import { typeLabel } from '../lib/words.js';
import { Page } from '../parts/page.js';
import { Badge, Foreign } from '../parts/small.js';
import { Empty, Loading, Stale } from '../parts/states.js';

/** @typedef {import('../lib/types.js').ConnectSession} ConnectSession */
/** @typedef {{sessions?: ConnectSession[], nextPageToken?: string, completeSince?: string}} Answer */

/** @type {Record<string, {tone: string, sign: string, label: string}>} */
const looks = {
  SESSION_STATE_STALLED: { tone: 'warn', sign: '!', label: 'Stalled' },
  SESSION_STATE_OPEN: { tone: 'plain', sign: '…', label: 'Open' },
  SESSION_STATE_FAILED: { tone: 'bad', sign: '✕', label: 'Failed' },
  SESSION_STATE_DONE: { tone: 'good', sign: '✓', label: 'Done' },
};
const failures = ['UNABLE_TO_CONNECT', 'INSTITUTION_NOT_SUPPORTED', 'INSTITUTION_NOT_FOUND', 'INVALID_CREDENTIALS'].map((t) => `EVENT_TYPE_FINICITY_${t}`);

export function Sessions() {
  const q = query.value;
  const conditions = { clientIds: q.get('client') ?? '', subjects: q.get('subject') ?? '', states: q.get('state') ?? '', pageSize: 100 };
  const ask = (/** @type {string} */ pageToken, /** @type {AbortSignal | undefined} */ signal) => /** @type {Promise<Answer>} */ (get(withQuery('/v1/sessions', { ...conditions, pageToken }), signal));
  const [more, setMore] = useState(/** @type {{sessions: ConnectSession[], token: string | null, error: import('../lib/api.js').ApiError | undefined}} */ ({ sessions: [], token: null, error: undefined }));
  const { data, error, loading, reload } = useLoad((signal) => ask('', signal), [conditions], more.token === null ? 5000 : 0);
  useEffect(() => setMore({ sessions: [], token: null, error: undefined }), [q.toString()]);
  const now = useNow();
  const sessions = [...(data?.sessions ?? []), ...more.sessions];
  const token = more.token ?? data?.nextPageToken ?? '';
  const on = async () => {
    try {
      const page = await ask(token, undefined);
      setMore({ sessions: [...more.sessions, ...(page.sessions ?? [])], token: page.nextPageToken ?? '', error: undefined });
    } catch (e) {
      setMore({ ...more, error: asApiError(e) });
    }
  };
  const filtered = Boolean(conditions.clientIds || conditions.subjects || conditions.states);
  return html`
    <${Page} title="Sessions" busy=${loading} lead="What Finicity customers did in Connect, from one start to the next. A session that was quiet for too long and neither finished nor failed is stalled.">
      <${Filter} />
      <${Stale} error=${error ?? more.error} retry=${reload} />
      ${loading ? html`<${Loading} what="the sessions" />` : null}
      ${data && sessions.length === 0 ? html`<${Empty} title=${filtered ? 'No session matches.' : 'No session yet.'}><p>${filtered ? 'Clear a condition to see others.' : 'A session appears with the first event of a Finicity customer in Connect.'}</p></${Empty}>` : null}
      <ul class="sessions" aria-label="Sessions">${sessions.map((s) => html`<${Session} key=${s.id} session=${s} now=${now} />`)}</ul>
      ${token ? html`<p><button type="button" onClick=${on}>Show more</button></p>` : null}
      ${data?.completeSince && sessions.length > 0 && !token ? html`<p class="muted">All sessions that began since ${utc(data.completeSince, { millis: false })} UTC are known.</p>` : null}
    </${Page}>`;
}

function Filter() {
  const q = query.value;
  const apply = (/** @type {HTMLFormElement} */ form) => setQuery(Object.fromEntries([...new FormData(form)].map(([n, v]) => [n, String(v).trim()])));
  const changed = (/** @type {any} */ e) => apply(e.currentTarget.form);
  return html`
    <form role="search" class="filter" aria-label="Filter" onSubmit=${(/** @type {any} */ e) => { e.preventDefault(); apply(e.currentTarget); }}>
      <label><span>State</span><select name="state" value=${q.get('state') ?? ''} onChange=${changed}><option value="">All</option>${Object.entries(looks).map(([value, look]) => html`<option key=${value} value=${value}>${look.label}</option>`)}</select></label>
      <label><span>Client</span><input name="client" value=${q.get('client') ?? ''} autocomplete="off" spellcheck=${false} onChange=${changed} /></label>
      <label><span>Subject (customer)</span><input name="subject" value=${q.get('subject') ?? ''} autocomplete="off" spellcheck=${false} onChange=${changed} /></label>
      <div class="filter-end"><button type="submit">Apply</button>${q.size > 0 ? html`<button type="button" class="quiet" onClick=${() => setQuery({ state: '', client: '', subject: '' })}>Clear</button>` : null}</div>
    </form>`;
}

/** @param {{session: ConnectSession, now: number}} props */
function Session({ session, now }) {
  const look = looks[session.state ?? ''] ?? { tone: 'plain', sign: '?', label: 'Unknown' };
  const events = session.events ?? [];
  const missing = session.missingEventTypes ?? [];
  const length = (Date.parse(session.lastTime ?? '') - Date.parse(session.startTime ?? '')) / 1000;
  const masked = session.masked?.includes('SENSITIVITY_SUBJECT');
  return html`
    <li class="card session" data-rows>
      <div class="session-head">
        <h2>${masked ? html`<span class="masked">masked customer</span>` : html`<a href=${withQuery(`${BASE}find`, { client: session.clientId, subject: session.subject })}><bdi class="break">${session.subject}</bdi></a>`}</h2>
        <${Badge} tone=${look.tone} sign=${look.sign}>${look.label}</${Badge}>
        <span class="muted">Client <${Foreign} text=${session.clientId} /></span>
        <span class="muted num">${utc(session.startTime, { millis: false })} UTC, ${duration(length)}, last event ${ago(session.lastTime, now)}</span>
      </div>
      <ol class="steps" aria-label="Events of the session">
        ${events.map((e) => html`<li key=${e.id} data-row class=${failures.includes(e.type ?? '') ? 'step bad' : 'step'}><a href=${eventPath(e.id ?? '')} data-open>${typeLabel(e.type)}</a> <span class="muted num">${clock(e.receiveTime).slice(0, 8)}</span></li>`)}
        ${int(session.eventCount) > events.length ? html`<li class="muted">and ${plural(int(session.eventCount) - events.length, 'more event', 'more events')}</li>` : null}
      </ol>
      ${missing.length > 0 && session.state !== 'SESSION_STATE_DONE' ? html`<p class="missing"><span class="muted">${session.state === 'SESSION_STATE_OPEN' ? 'Not yet:' : 'Missing:'}</span> ${missing.map((t) => html`<span key=${t} class="step-missing">${typeLabel(t)}</span> `)}</p>` : null}
    </li>`;
}
