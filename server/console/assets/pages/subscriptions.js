// How far each subscription is behind.
import { count, duration, int, plural, seconds } from '../lib/format.js';
import { html } from '../lib/html.js';
import { useLoad } from '../lib/load.js';
import { BASE } from '../lib/router.js';
import { lookOf, subscriptions } from '../lib/subscriptions.js';
import { Page } from '../parts/page.js';
import { Badge, Filters } from '../parts/small.js';
import { Empty, Loading, Stale } from '../parts/states.js';

export function Subscriptions() {
  const { data, error, loading, reload } = useLoad(subscriptions, [], 2000);
  const list = data ?? [];
  return html`
    <${Page} title="Subscriptions" busy=${loading} lead=${data ? html`${plural(list.length, 'subscription')}, by name` : null}>
      <${Stale} error=${error} retry=${reload} />
      ${loading ? html`<${Loading} what="the subscriptions" />` : null}
      ${data && list.length === 0 ? html`<${Empty} title="No subscription."><p>Workers make their own, or: <code>webhook-gateway subscriptions create billing</code></p></${Empty}>` : null}
      ${list.length > 0 ? html`
        <div class="scroll card flush" tabindex="0" role="group" aria-label="Subscriptions" data-rows><table class="cards">
          <thead><tr><th scope="col">Name</th><th scope="col">How it is</th><th scope="col" class="right">Lag</th><th scope="col" class="right">Oldest</th><th scope="col" class="right">In flight</th><th scope="col" class="right">Retrying</th><th scope="col" class="right">Parked</th><th scope="col" class="right">Workers</th><th scope="col">Filter</th></tr></thead>
          <tbody>${list.map((one) => { const s = one.status ?? {}; const look = lookOf(s); return html`<tr key=${one.name} data-row>
            <th scope="row" data-label="Name"><a href=${`${BASE}subscriptions/${encodeURIComponent(one.name)}`} data-open>${one.name}</a></th>
            <td data-label="How it is"><${Badge} tone=${look.tone} sign=${look.sign} title=${s.unusable}>${look.label}</${Badge}></td>
            <td data-label="Lag" class="right">${count(s.lagEvents)}</td>
            <td data-label="Oldest" class="right">${s.lagTime ? duration(Math.floor(seconds(s.lagTime))) : '–'}</td>
            <td data-label="In flight" class="right">${count(s.inFlightEvents)}</td>
            <td data-label="Retrying" class="right">${count(s.waitingEvents)}</td>
            <td data-label="Parked" class="right">${int(s.parkedEvents) > 0 ? html`<strong>${count(s.parkedEvents)}</strong>` : '0'}</td>
            <td data-label="Workers" class="right">${count(s.streams)}</td>
            <td data-label="Filter"><${Filters} filters=${one.filters} /></td>
          </tr>`; })}</tbody></table></div>
        <p class="muted">The lag counts all events of the log after the cursor, also those that the filter skips.</p>` : null}
    </${Page}>`;
}
