// The life of an event, as far as it is known.
import { get } from '../lib/api.js';
import { plural, utc } from '../lib/format.js';
import { html } from '../lib/html.js';
import { useLoad } from '../lib/load.js';
import { BASE } from '../lib/router.js';
import { verdictLook } from '../lib/words.js';
import { Badge } from './small.js';
import { Stale } from './states.js';

/** @typedef {import('../lib/types.js').GatewayEvent} GatewayEvent */
/** @typedef {import('../lib/types.js').EventState} EventState */

/** @type {Record<string, {tone: string, sign: string, label: string, title: string}>} */
const looks = {
  DELIVERY_STATE_NOT_SELECTED: { tone: 'plain', sign: '–', label: 'Not selected', title: 'Its filters do not select the event' },
  DELIVERY_STATE_PENDING: { tone: 'warn', sign: '…', label: 'Pending', title: 'Still to be delivered for the first time' },
  DELIVERY_STATE_IN_FLIGHT: { tone: 'warn', sign: '→', label: 'In flight', title: 'A worker holds it' },
  DELIVERY_STATE_WAITING: { tone: 'warn', sign: '↻', label: 'Waiting for a retry', title: 'It waits for another attempt' },
  DELIVERY_STATE_PARKED: { tone: 'bad', sign: '‖', label: 'Parked', title: 'It is not delivered any more until it is replayed' },
  DELIVERY_STATE_PASSED: { tone: 'good', sign: '✓', label: 'Passed', title: 'It was settled, or came before the place that the subscription began at or was moved to' },
};

/** @param {EventState} state */
const lookOf = (state) => looks[state.state ?? ''] ?? { tone: 'plain', sign: '?', label: 'Not known', title: 'The subscription cannot be asked just now, or cannot be used' };

/** @param {{event: GatewayEvent, now: number, asks: boolean}} props */
export function Life({ event, asks }) {
  const { data, error, reload } = useLoad(async (signal) => (asks ? get(`/v1/events/${encodeURIComponent(event.id)}/states`, signal) : {}), [event.id, asks], asks ? 5000 : 0);
  const states = /** @type {EventState[]} */ (data?.states ?? []);
  const verdict = verdictLook(event.verification?.verdict);
  return html`
    <section class="card"><h2>Life</h2>
      <ol class="life">
        <li><strong>Received, ${verdict.label.toLowerCase()} and durable</strong><span class="muted num">${utc(event.receiveTime)} UTC</span></li>
        ${!asks ? html`<li class="muted">Where subscriptions stand with it is not granted to you.</li>` : null}
        ${asks && data && states.length === 0 ? html`<li class="muted">No subscription that you may use stands anywhere with it. Streams of Subscribe keep their own place, which the gateway does not know.</li>` : null}
        ${states.map((s) => { const look = lookOf(s); return html`<li key=${s.subscription}><a href=${`${BASE}subscriptions/${encodeURIComponent(s.subscription ?? '')}`}>${s.subscription}</a>
          <span><${Badge} tone=${look.tone} sign=${look.sign} title=${look.title}>${look.label}</${Badge}>${s.attempts ? html` <span class="muted">${plural(s.attempts, 'failed attempt')}</span>` : null}</span></li>`; })}
        ${data?.truncated ? html`<li class="muted">There are more subscriptions.</li>` : null}
      </ol>
      ${error ? html`<${Stale} error=${error} retry=${reload} />` : null}
    </section>`;
}
