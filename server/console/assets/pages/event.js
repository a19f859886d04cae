// Everything that is known of one event.
import { get, withQuery } from '../lib/api.js';
import { caller, richestView, usesSubscriptions } from '../lib/caller.js';
import { html } from '../lib/html.js';
import { useLoad, useNow } from '../lib/load.js';
import { BASE } from '../lib/router.js';
import { maskedWords, providerLabel, typeLabel, words } from '../lib/words.js';
import { Life } from '../parts/life.js';
import { Page } from '../parts/page.js';
import { RawBody, Headers } from '../parts/rawbody.js';
import { Again } from '../parts/again.js';
import { Badge, Copy, Facts, Foreign, Verdict, When } from '../parts/small.js';
import { Failure, Loading } from '../parts/states.js';
import { Tabs } from '../parts/tabs.js';
import { Tree } from '../parts/tree.js';

/** @typedef {import('../lib/types.js').GatewayEvent} GatewayEvent */

/** How many characters an id has. */
const ID_LENGTH = 36;

/** @param {{id: string}} props */
export function EventPage({ id }) {
  const view = richestView(caller.value);
  const { data, error, loading, reload } = useLoad(async (signal) => /** @type {GatewayEvent} */ ((await get(withQuery(`/v1/events/${encodeURIComponent(id)}`, { view }), signal)).event), [id, view]);
  const now = useNow(10_000);
  const lost = error !== undefined && [400, 404].includes(error.status);
  const name = data ? data.typeName || typeLabel(data.type) || 'Event without a type' : 'Event';
  return html`
    <${Page} title=${name.slice(0, 120)} busy=${loading} heading=${html`<bdi class="break">${name.slice(0, 300)}</bdi>`}
      lead=${data ? html`${providerLabel(data.provider)}, received <${When} time=${data.receiveTime} now=${now} />` : html`<bdi class="break">${id}</bdi>`}
      actions=${data ? html`<${Copy} text=${() => location.href} label="Copy link" />` : null}>
      ${error ? html`<${Failure} error=${error} retry=${lost || error.denied ? undefined : reload} />` : null}
      ${lost ? html`<p>The id of an event is ${ID_LENGTH} letters, digits, <code>-</code> and <code>_</code>, the first of them an <code>e</code>. It stands in the field <code>id</code> of every event.
        Without it, look for the event in <a href=${`${BASE}find`}>Find</a>: by its client, its subject, the provider’s id or the time.</p>` : null}
      ${loading ? html`<${Loading} what="the event" />` : null}
      ${data ? html`<${Details} event=${data} view=${view} now=${now} />` : null}
    </${Page}>`;
}

/** @param {{event: GatewayEvent, view: string, now: number}} props */
function Details({ event, view, now }) {
  const payload = event.finicity ?? event.vezgo;
  const masked = event.masked?.length ? maskedWords(event.masked) : '';
  return html`
    <div class="badges">
      <${Verdict} verdict=${event.verification?.verdict} />
      ${event.eventIdConflict ? html`<${Badge} tone="warn" sign="≠">Conflict</${Badge}>` : null}
      ${event.decodeError ? html`<${Badge} tone="warn" sign="~">Drift</${Badge}>` : null}
      ${masked ? html`<${Badge} tone="plain" sign="■">Masked</${Badge}>` : null}
    </div>
    ${masked ? html`<p class="note">Fields of these classes are masked by your grant: ${masked}. What is absent below may have been sent.</p>` : null}
    ${event.eventIdConflict ? html`<p class="note warn">An event of this client with the same provider’s id, the same verdict and another body was stored before this one.
      ${event.providerEventId ? html` <a href=${withQuery(`${BASE}find`, { providerId: event.providerEventId, client: event.clientId })}>Show all of this id</a>` : null}</p>` : null}
    <div class="event-columns">
      <div class="event-main">
        <section class="card"><${Tabs} label="Content" tabs=${[
          { name: 'Payload', content: () => (payload !== undefined ? html`<${Tree} value=${payload} label="Payload" />` : html`<p class="muted">${view === 'EVENT_VIEW_METADATA' ? 'Your grant does not show payloads: it has the view metadata only.' : 'There is no typed payload: the body did not decode, or it is hidden.'}</p>`) },
          { name: 'Raw body', content: () => html`<${RawBody} event=${event} raw=${view === 'EVENT_VIEW_RAW'} />` },
          { name: 'Headers', content: () => html`<${Headers} event=${event} raw=${view === 'EVENT_VIEW_RAW'} />` },
        ]} /></section>
        ${event.decodeError ? html`<section class="card"><h2>Drift</h2><p class="muted">What the typed payload lacks or changed. Nothing is lost: the raw body has it all.</p>
          <ul class="drift">${event.decodeError.split('; ').map((line, i) => html`<li key=${i}><code><bdi class="break">${line}</bdi></code></li>`)}</ul></section>` : null}
        <${Again} event=${event} raw=${view === 'EVENT_VIEW_RAW'} />
      </div>
      <div class="event-side">
        <section class="card"><h2>Event</h2><${Facts} rows=${[
          ['Id', html`<code class="break">${event.id}</code> <${Copy} quiet text=${event.id} label="Copy" />`],
          ['Client', html`<a href=${withQuery(`${BASE}find`, { client: event.clientId })}><bdi class="break">${event.clientId}</bdi></a>`],
          ['Subject', event.masked?.includes('SENSITIVITY_SUBJECT') ? html`<span class="masked">masked</span>` : event.subject ? html`<a href=${withQuery(`${BASE}find`, { client: event.clientId, subject: event.subject })}><bdi class="break">${event.subject}</bdi></a>` : html`<${Foreign} text="" none="names nobody" />`],
          ['Provider’s id', html`<${Foreign} text=${event.providerEventId} none="none" />`],
          ['Type', html`<code>${event.type}</code>`],
          ['Cursor', html`<code class="break">${event.cursor}</code>`],
          event.traceContext?.traceparent ? ['Trace', html`<code class="break">${event.traceContext.traceparent}</code>`] : null,
        ]} /></section>
        <${Verification} event=${event} />
        <${Life} event=${event} now=${now} asks=${usesSubscriptions(caller.value)} />
      </div>
    </div>`;
}

/** @param {{event: GatewayEvent}} props */
function Verification({ event }) {
  const v = event.verification ?? {};
  const methods = /** @type {Record<string, string>} */ ({ VERIFICATION_METHOD_HMAC_SHA256: 'HMAC-SHA256 of the body', VERIFICATION_METHOD_SOURCE_ADDRESS: 'Source address' });
  return html`
    <section class="card"><h2>Verification</h2><${Facts} rows=${[
      ['Verdict', html`<${Verdict} verdict=${v.verdict} />${v.failure ? html` ${words(v.failure, 'VERIFICATION_FAILURE_')}` : null}`],
      ['Method', methods[v.method ?? ''] ?? (words(v.method, 'VERIFICATION_METHOD_') || 'Not checked')],
      ['Mode', words(v.mode, 'VERIFICATION_MODE_')],
      ['Key', html`<${Foreign} text=${v.keyId} none="none" />`],
      ['Source', html`<${Foreign} text=${v.sourceAddress} />`],
    ]} /></section>`;
}
