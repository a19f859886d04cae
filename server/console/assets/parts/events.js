// The columns of a list of events, and the filter that selects them.
import { clock, utc } from '../lib/format.js';
import { html } from '../lib/html.js';
import { eventPath, query, setQuery } from '../lib/router.js';
import { maskedWords, providerLabel, providers, typeLabel, types, verdicts } from '../lib/words.js';
import { Badge, Verdict } from './small.js';

/** @typedef {import('../lib/types.js').GatewayEvent} GatewayEvent */
/** @typedef {import('../lib/types.js').EventFilter} EventFilter */

/** @param {GatewayEvent} e */
const marks = (e) => html`${e.eventIdConflict ? html`<${Badge} tone="warn" sign="≠" title="Another event of this id has another body">Conflict</${Badge}>` : null}${e.decodeError ? html`<${Badge} tone="warn" sign="~" title="The typed payload lacks something">Drift</${Badge}>` : null}`;

/** @param {boolean} dated whether times have their date */
export const eventColumns = (dated) => /** @type {import('./list.js').Column<GatewayEvent>[]} */ ([
  { name: 'c-time', label: 'Received (UTC)', cell: (e) => html`<time datetime=${e.receiveTime} class="num">${dated ? utc(e.receiveTime) : clock(e.receiveTime)}</time>` },
  { name: 'c-type', label: 'Type', cell: (e) => html`<a href=${eventPath(e.id)} data-open title=${e.typeName}><bdi>${e.typeName || typeLabel(e.type) || 'no type'}</bdi></a>` },
  { name: 'c-verdict', label: 'Verdict', cell: (e) => html`<${Verdict} verdict=${e.verification?.verdict} />` },
  { name: 'c-provider', label: 'Provider', cell: (e) => providerLabel(e.provider) },
  { name: 'c-client', label: 'Client', cell: (e) => html`<bdi title=${e.clientId}>${e.clientId}</bdi>` },
  { name: 'c-subject', label: 'Subject', cell: (e) => (e.masked?.includes('SENSITIVITY_SUBJECT') ? html`<span class="masked" title=${`Hidden by your grant: ${maskedWords(e.masked)}`}>masked</span>` : html`<bdi title=${e.subject}>${e.subject ?? ''}</bdi>`) },
  { name: 'c-marks', label: 'Marks', cell: marks },
]);

/** The filter that the URL has. @param {URLSearchParams} q @returns {EventFilter} */
export function filterOf(q) {
  /** @type {EventFilter} */
  const filter = {};
  for (const [name, key] of /** @type {[string, keyof EventFilter][]} */ ([['provider', 'providers'], ['type', 'eventTypes'], ['client', 'clientIds'], ['subject', 'subjects'], ['verdict', 'verdicts'], ['providerId', 'providerEventIds']])) {
    const values = q.getAll(name).filter(Boolean);
    if (values.length > 0) filter[key] = values;
  }
  return filter;
}

/** Whether the URL has any condition. @param {URLSearchParams} q */
export const hasFilter = (q) => [...q.keys()].some((name) => names.includes(name));
const names = ['id', 'provider', 'type', 'client', 'subject', 'verdict', 'providerId', 'after', 'before'];

/**
 * @param {{full?: boolean, onSubmit?: (values: Record<string, string>) => boolean}} props
 *   full: also ids and times. onSubmit may take the values itself
 */
export function FilterBar({ full = false, onSubmit }) {
  const q = query.value;
  /** @param {HTMLFormElement} form */
  const apply = (form) => {
    /** @type {Record<string, string>} */
    const values = {};
    for (const [name, value] of new FormData(form)) values[name] = String(value).trim();
    if (!onSubmit?.(values)) setQuery(values);
  };
  const changed = (/** @type {any} */ e) => apply(e.currentTarget.form);
  /** @param {string} name @param {string} label @param {string} [hint] @param {string} [type] */
  const field = (name, label, hint = '', type = 'text') => html`
    <label class=${`f-${name}`}><span>${label}</span>
      <input type=${type} name=${name} value=${q.get(name) ?? ''} placeholder=${hint} autocomplete="off" spellcheck=${false} step=${type === 'datetime-local' ? '1' : undefined} onChange=${changed} /></label>`;
  return html`
    <form role="search" class="filter" aria-label="Filter" onSubmit=${(/** @type {any} */ e) => { e.preventDefault(); apply(e.currentTarget); }}>
      ${full ? field('id', 'Event id') : null}
      ${field('client', 'Client')}
      ${field('subject', 'Subject (customer, user)')}
      ${full ? field('providerId', 'Provider’s event id') : null}
      <label><span>Provider</span><select name="provider" value=${q.get('provider') ?? ''} onChange=${changed}><option value="">All</option>${providers.map((p) => html`<option key=${p.value} value=${p.value}>${p.label}</option>`)}</select></label>
      <label><span>Type</span><select name="type" value=${q.get('type') ?? ''} onChange=${changed}><option value="">All</option>${types.map((g) => html`<optgroup key=${g.provider} label=${g.provider}>${g.types.map((t) => html`<option key=${t.value} value=${t.value}>${t.label}</option>`)}</optgroup>`)}</select></label>
      <label><span>Verdict</span><select name="verdict" value=${q.get('verdict') ?? ''} onChange=${changed}><option value="">All but failed</option>${verdicts.map((v) => html`<option key=${v.value} value=${v.value}>${v.label}</option>`)}</select></label>
      ${full ? html`${field('after', 'From (UTC)', '', 'datetime-local')}${field('before', 'Until (UTC)', '', 'datetime-local')}` : null}
      <div class="filter-end">
        <button type="submit">Apply</button>
        ${hasFilter(q) ? html`<button type="button" class="quiet" onClick=${() => setQuery(Object.fromEntries(names.map((n) => [n, ''])))}>Clear</button>` : null}
      </div>
    </form>`;
}
