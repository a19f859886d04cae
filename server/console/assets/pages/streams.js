// Who reads, how quickly, and who is too slow.
import { get } from '../lib/api.js';
import { gatewayNow } from '../lib/clock.js';
import { ago, bytes, count, duration, int, plural, seconds, short, utc } from '../lib/format.js';
import { html } from '../lib/html.js';
import { useLoad, useNow } from '../lib/load.js';
import { BASE } from '../lib/router.js';
import { words } from '../lib/words.js';
import { Page } from '../parts/page.js';
import { Badge, Filters, Foreign } from '../parts/small.js';
import { Empty, Loading, Stale } from '../parts/states.js';

/** @typedef {import('../lib/types.js').OpenStream} OpenStream */
/** @typedef {{streams?: OpenStream[], nextPageToken?: string, at: number}} Answer at: when it came, by the gateway's clock */

/** How many are shown: more are no table for people. */
const MOST = 1000;

/** How a stream is: the reader may be what holds it up. @param {OpenStream} s @param {number} at when the gateway said so */
function lookOf(s, at) {
  const waits = s.blockedSince ? (at - Date.parse(s.blockedSince)) / 1000 : 0;
  if (waits > 2) return { tone: 'bad', sign: '!', label: `Slow: waits ${duration(Math.floor(waits))} for the reader` };
  if ((s.blockedRatio ?? 0) > 0.5) return { tone: 'warn', sign: '!', label: `Slow: the reader is the limit, ${Math.round((s.blockedRatio ?? 0) * 100)} % of the time` };
  if (s.caughtUp) return { tone: 'good', sign: '✓', label: 'Caught up' };
  return s.subscription ? { tone: 'plain', sign: '→', label: 'Working' } : { tone: 'plain', sign: '↻', label: 'Reading older events' };
}

export function Streams() {
  const { data, error, loading, reload } = useLoad(async (signal) => /** @type {Answer} */ ({ ...await get(`/v1/operator/streams?pageSize=${MOST}`, signal), at: gatewayNow() }), [], 2000);
  const now = useNow();
  const streams = data?.streams ?? [];
  return html`
    <${Page} title="Streams" busy=${loading} lead="Who reads from this gateway: streams of Subscribe, and workers of subscriptions. A slow reader slows nobody else.">
      <${Stale} error=${error} retry=${reload} />
      ${loading ? html`<${Loading} what="the streams" />` : null}
      ${data && streams.length === 0 ? html`<${Empty} title="Nobody reads at present."><p>A stream appears here while it is open, for instance: <code>webhook-gateway tail</code></p></${Empty}>` : null}
      ${streams.length > 0 ? html`
        <p class="muted" role="status">${data?.nextPageToken ? html`The oldest ${plural(streams.length, 'stream')}; there are more: <code>webhook-gateway streams</code> lists them all` : `${plural(streams.length, 'stream')} open, the oldest first`}</p>
        <div class="scroll card flush" tabindex="0" role="group" aria-label="Open streams"><table class="cards">
          <thead><tr><th scope="col">Reader</th><th scope="col">Reads</th><th scope="col">How it is</th><th scope="col" class="right">Behind</th><th scope="col" class="right">Rate</th><th scope="col" class="right">Delay</th><th scope="col" class="right">Sent</th><th scope="col">Open since</th></tr></thead>
          <tbody>${streams.map((s) => { const look = lookOf(s, data?.at ?? now); return html`<tr key=${s.id}>
            <td data-label="Reader"><${Foreign} text=${s.caller} none="anybody" /><div class="muted small"><${Foreign} text=${s.remoteAddress} none="over HTTP" /></div><div class="muted small clip" title=${s.userAgent}><${Foreign} text=${s.userAgent} none="" /></div></td>
            <td data-label="Reads">${s.subscription ? html`<span class="muted">worker of</span> <a href=${`${BASE}subscriptions/${encodeURIComponent(s.subscription)}`}>${s.subscription}</a>` : null}<${Filters} filters=${s.filters} /><div class="muted small">${words(s.view, 'EVENT_VIEW_')}</div></td>
            <td data-label="How it is"><${Badge} tone=${look.tone} sign=${look.sign}>${look.label}</${Badge}></td>
            <td data-label="Behind" class="right">${s.subscription ? (int(s.inFlightEvents) < 0 ? html`<span class="muted">run by another gateway</span>` : html`${count(s.inFlightEvents)} <span class="muted">held</span>`) : count(s.lagEvents)}</td>
            <td data-label="Rate" class="right">${short(s.eventsPerSecond ?? 0)}/s</td>
            <td data-label="Delay" class="right">${s.delay ? duration(seconds(s.delay)) : '–'}</td>
            <td data-label="Sent" class="right">${count(s.sentEvents)}<div class="muted small">${bytes(int(s.sentBytes))}</div></td>
            <td data-label="Open since"><time datetime=${s.openTime} title=${`${utc(s.openTime)} UTC`}>${ago(s.openTime, now)}</time></td>
          </tr>`; })}</tbody></table></div>` : null}
    </${Page}>`;
}
