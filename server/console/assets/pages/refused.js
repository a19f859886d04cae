// Why a delivery does not arrive.
import { useEffect, useState } from 'preact/hooks';
import { asApiError, get, withQuery } from '../lib/api.js';
import { bytes, count, int, plural, utc } from '../lib/format.js';
import { html } from '../lib/html.js';
import { useLoad, useNow } from '../lib/load.js';
import { query, setQuery } from '../lib/router.js';
import { providerLabel, providers, reasonLabel, refusalHints } from '../lib/words.js';
import { Page } from '../parts/page.js';
import { Ago, Badge, Foreign } from '../parts/small.js';
import { Empty, Loading, Stale } from '../parts/states.js';

/** @typedef {import('../lib/types.js').Refusal} Refusal */
/** @typedef {{refusals?: Refusal[], nextPageToken?: string}} Answer */

/** @param {Refusal} r */
const reasonOf = (r) => (r.reason ?? '').replace('ERROR_REASON_', '');

export function Refused() {
  const q = query.value;
  const conditions = { providers: q.get('provider') ?? '', clientIds: q.get('client') ?? '', reasons: q.get('reason') ?? '', pageSize: 200 };
  const [more, setMore] = useState(/** @type {{refusals: Refusal[], token: string | null, error: import('../lib/api.js').ApiError | undefined}} */ ({ refusals: [], token: null, error: undefined }));
  const ask = (/** @type {string} */ pageToken, /** @type {AbortSignal | undefined} */ signal) => /** @type {Promise<Answer>} */ (get(withQuery('/v1/operator/refusals', { ...conditions, pageToken }), signal));
  const { data, error, loading, reload } = useLoad((signal) => ask('', signal), [conditions], more.token === null ? 3000 : 0);
  useEffect(() => setMore({ refusals: [], token: null, error: undefined }), [q.toString()]);
  const now = useNow();
  const refusals = [...(data?.refusals ?? []), ...more.refusals];
  const token = more.token ?? data?.nextPageToken ?? '';
  const on = async () => {
    try {
      const page = await ask(token, undefined);
      setMore({ refusals: [...more.refusals, ...(page.refusals ?? [])], token: page.nextPageToken ?? '', error: undefined });
    } catch (e) {
      setMore({ ...more, error: asApiError(e) });
    }
  };
  const shown = [...new Set(refusals.map(reasonOf))];
  return html`
    <${Page} title="Refused" busy=${loading} lead="Deliveries that were not stored, the newest first. Those alike are one row. Bodies are not kept: a stranger may have sent them.">
      <${Filter} />
      <${Stale} error=${error ?? more.error} retry=${reload} />
      ${loading ? html`<${Loading} what="what was refused" />` : null}
      ${data && refusals.length === 0 ? html`<${Empty} title=${q.size > 0 ? 'No refusal matches.' : 'Nothing was refused.'}><p>${q.size > 0 ? 'Clear a condition to see others.' : 'If a delivery does not arrive and is not here, it did not reach the gateway: look at the network, the proxy and the URL that the provider was given.'}</p></${Empty}>` : null}
      ${refusals.length > 0 ? html`
        <div class="scroll card flush" tabindex="0" role="group" aria-label="Refused deliveries"><table class="cards">
          <thead><tr><th scope="col">Last</th><th scope="col">Reason</th><th scope="col" class="right">Count</th><th scope="col">Provider</th><th scope="col">Client</th><th scope="col">Source</th><th scope="col" class="right">Status</th><th scope="col" class="right">Size</th><th scope="col">Answered</th></tr></thead>
          <tbody>${refusals.map((r, i) => html`<tr key=${i}>
            <td data-label="Last"><${Ago} time=${r.lastTime} now=${now} /></td>
            <td data-label="Reason"><${Badge} tone="bad" title=${refusalHints[reasonOf(r)]}>${reasonLabel(r.reason)}</${Badge}></td>
            <td data-label="Count" class="right" title=${`since ${utc(r.firstTime)} UTC`}>${count(r.count)}</td>
            <td data-label="Provider">${providerLabel(r.provider) || html`<span class="muted">none</span>`}</td>
            <td data-label="Client"><${Foreign} text=${r.clientId} none="none" /></td>
            <td data-label="Source"><${Foreign} text=${r.sourceAddress} none="not known" /></td>
            <td data-label="Status" class="right">${r.httpStatus}</td>
            <td data-label="Size" class="right">${int(r.bodyBytes) < 0 ? 'not said' : bytes(r.bodyBytes)}</td>
            <td data-label="Answered" class="said"><${Foreign} text=${r.message} /></td>
          </tr>`)}</tbody></table></div>
        ${token ? html`<p><button type="button" onClick=${on}>Show more</button></p>` : null}
        <section class="card"><h2>What to do</h2><dl class="hints">${shown.filter((r) => refusalHints[r]).map((r) => html`<div key=${r}><dt>${reasonLabel(r)}</dt><dd>${refusalHints[r]}</dd></div>`)}</dl>
          <p class="muted">${plural(refusals.length, 'row')}. A bounded number is kept of each reason, so that many of one do not push out the others.</p></section>` : null}
    </${Page}>`;
}

function Filter() {
  const q = query.value;
  const apply = (/** @type {HTMLFormElement} */ form) => setQuery(Object.fromEntries([...new FormData(form)].map(([n, v]) => [n, String(v).trim()])));
  const changed = (/** @type {any} */ e) => apply(e.currentTarget.form);
  return html`
    <form role="search" class="filter" aria-label="Filter" onSubmit=${(/** @type {any} */ e) => { e.preventDefault(); apply(e.currentTarget); }}>
      <label><span>Reason</span><select name="reason" value=${q.get('reason') ?? ''} onChange=${changed}><option value="">All</option>${Object.keys(refusalHints).map((r) => html`<option key=${r} value=${`ERROR_REASON_${r}`}>${reasonLabel(r)}</option>`)}</select></label>
      <label><span>Provider</span><select name="provider" value=${q.get('provider') ?? ''} onChange=${changed}><option value="">All</option>${providers.map((p) => html`<option key=${p.value} value=${p.value}>${p.label}</option>`)}<option value="PROVIDER_UNSPECIFIED">Unknown provider</option></select></label>
      <label><span>Client</span><input name="client" value=${q.get('client') ?? ''} autocomplete="off" spellcheck=${false} onChange=${changed} /></label>
      <div class="filter-end"><button type="submit">Apply</button>${q.size > 0 ? html`<button type="button" class="quiet" onClick=${() => setQuery({ reason: '', provider: '', client: '' })}>Clear</button>` : null}</div>
    </form>`;
}
