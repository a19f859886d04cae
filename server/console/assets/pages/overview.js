// How the gateway is, and how the last hour was.
import { get } from '../lib/api.js';
import { caller, usesSubscriptions } from '../lib/caller.js';
import { bytes, duration, int, plural, seconds, short } from '../lib/format.js';
import { html } from '../lib/html.js';
import { useLoad, useNow } from '../lib/load.js';
import { BASE } from '../lib/router.js';
import { lookOf, subscriptions } from '../lib/subscriptions.js';
import { providerLabel, words } from '../lib/words.js';
import { Chart, numbers } from '../parts/chart.js';
import { Page } from '../parts/page.js';
import { Ago, Badge, Copy, Facts, When } from '../parts/small.js';
import { Loading, Stale } from '../parts/states.js';

/** @typedef {import('../lib/types.js').Overview} Answer */
/** @typedef {import('../lib/types.js').History} History */
/** @typedef {import('../lib/types.js').Series} Series */
/** @typedef {import('../lib/types.js').Subscription} Subscription */

/** Of how many subscriptions it is said here that somebody should look at them. */
const NAMED = 5;

export function Overview() {
  const overview = useLoad((signal) => /** @type {Promise<Answer>} */ (get('/v1/operator/overview', signal)), [], 5000);
  const history = useLoad((signal) => /** @type {Promise<History>} */ (get('/v1/operator/history', signal)), [], 10_000);
  const sees = usesSubscriptions(caller.value);
  const known = useLoad((signal) => (sees ? subscriptions(signal) : Promise.resolve([])), [sees], 10_000);
  const now = useNow();
  const d = overview.data;
  return html`
    <${Page} title="Overview" busy=${overview.loading || history.loading}
      lead=${d ? html`${d.version ? html`Version <bdi>${d.version}</bdi>` : 'Development version'}, up for ${duration((now - Date.parse(d.startTime ?? '')) / 1000)}` : null}>
      <${Stale} error=${overview.error} retry=${overview.reload} />
      ${d && !overview.error ? html`<${Health} overview=${d} subscriptions=${known.data ?? []} />` : overview.loading ? html`<${Loading} what="how the gateway is" />` : null}
      <h2>The last hour</h2>
      ${history.error && !overview.error ? html`<${Stale} error=${history.error} retry=${history.reload} />` : null}
      ${history.data ? html`<${Charts} history=${history.data} />` : history.loading ? html`<${Loading} what="the last hour" />` : null}
      ${d ? html`<div class="columns"><${Providers} overview=${d} now=${now} /><${Configuration} overview=${d} now=${now} /><${Members} overview=${d} /></div>` : null}
    </${Page}>`;
}

/** A subscription that somebody should look at. @param {{one: Subscription}} props */
function Stuck({ one }) {
  const status = one.status ?? {};
  const { tone, label } = lookOf(status);
  return html`<li><${Badge} tone=${tone}>${label}</${Badge}> <span><a href=${`${BASE}subscriptions/${encodeURIComponent(one.name)}`}>${one.name}</a>${int(status.parkedEvents) > 0 ? `: ${plural(status.parkedEvents, 'event')} parked` : ''}</span></li>`;
}

/** @param {{overview: Answer, subscriptions: Subscription[]}} props */
function Health({ overview, subscriptions }) {
  const { reasons = [], problems = [], damage = [], warnings = [] } = overview;
  const stuck = subscriptions.filter(({ status: s = {} }) => s.unusable || s.gap || int(s.parkedEvents) > 0);
  const [tone, sign, text] = reasons.length ? ['bad', '✕', 'It should get no work'] : problems.length ? ['bad', '✕', 'Something does not work']
    : damage.length ? ['warn', '!', 'It works, and events are lost'] : warnings.length || stuck.length ? ['warn', '!', 'All works, and somebody should look at something'] : ['good', '✓', 'All works'];
  const lists = /** @type {[string, string, string[]][]} */ ([['bad', 'Not ready', reasons], ['bad', 'Problem', problems], ['warn', 'Damage', damage], ['warn', 'Warning', warnings]]);
  return html`
    <section class=${`health ${tone}`} aria-label="Health">
      <p class="health-word"><span class="sign" aria-hidden="true">${sign}</span> ${text}</p>
      ${lists.some(([, , l]) => l.length) || stuck.length ? html`<ul>${lists.flatMap(([t, name, list]) => list.map((line) => html`<li key=${name + line}><${Badge} tone=${t}>${name}</${Badge}> <bdi class="break">${line}</bdi></li>`))}${stuck.slice(0, NAMED).map((one) => html`<${Stuck} key=${one.name} one=${one} />`)}
        ${stuck.length > NAMED ? html`<li><span></span><a href=${`${BASE}subscriptions`}>${plural(stuck.length - NAMED, 'more subscription')}</a></li>` : null}</ul>` : null}
    </section>`;
}

const outcomeTones = ['bad', '1', '2', '3', '4', '5'];

/** @param {{history: History}} props */
function Charts({ history }) {
  const series = history.series ?? [];
  const interval = seconds(history.interval) || 10;
  /** @param {string} name @returns {Series | undefined} */
  const one = (name) => series.find((s) => s.name === name);
  /** @param {string} name @param {string} label @param {{tone?: string, dashed?: boolean}} [look] */
  const line = (name, label, look = {}) => ({ label, values: numbers(one(name)?.values), ...look });
  const all = (/** @type {string} */ name) => series.filter((s) => s.name === name);
  const minutes = ((Math.max(...series.map((s) => s.values?.length ?? 0), 1) - 1) * interval) / 60;
  const deliveries = byLabel(all('deliveries'), 'provider', providerName);
  const refusals = byLabel(all('refusals'), 'outcome', (o) => words(o.toUpperCase(), '') || 'other').filter((l, i) => i === 0 || l.values.some((v) => v > 0)).slice(0, 6);
  const rate = (/** @type {number} */ v) => `${short(v)}/s`;
  const sumNow = (/** @type {{values: number[]}[]} */ lines) => rate(lines.reduce((n, l) => n + (l.values.findLast(Number.isFinite) ?? 0), 0));
  const events = (/** @type {number} */ v) => short(v);
  return html`
    <div class="charts">
      <${Chart} title="Deliveries" minutes=${minutes} format=${rate} now=${sumNow(deliveries)} lines=${deliveries} empty="No delivery came yet." />
      <${Chart} title="Refusals" minutes=${minutes} format=${rate} now=${sumNow(refusals)} lines=${refusals.map((l, i) => ({ ...l, tone: outcomeTones[i] }))} empty="Nothing was refused." link=${html`<a class="more" href=${`${BASE}refused`}>Which</a>`} />
      <${Chart} title="Delay to live streams" minutes=${minutes} format=${duration} lines=${[line('delay_p99', 'p99', { tone: 'warn' }), line('delay_p50', 'p50', { tone: '0' })]} empty="Nothing was sent to a live stream." />
      <${Chart} title="Lag of the furthest subscription" minutes=${minutes} format=${events} lines=${[line('lag_events', 'events behind')]} empty="No subscription." link=${html`<a class="more" href=${`${BASE}subscriptions`}>Which</a>`} />
      <${Chart} title="Parked events" minutes=${minutes} format=${events} lines=${[line('parked_events', 'parked', { tone: 'warn' })]} empty="No subscription." />
      <${Chart} title="Events sent" minutes=${minutes} format=${rate} lines=${[line('events_sent', 'events sent')]} />
      <${Chart} title="Time to store a delivery" minutes=${minutes} format=${duration} lines=${[line('append_p99', 'p99', { tone: 'warn' }), line('append_p50', 'p50', { tone: '0' })]} empty="Nothing was stored yet." />
      <${Chart} title="Open streams" minutes=${minutes} format=${events} lines=${[line('streams', 'streams')]} link=${html`<a class="more" href=${`${BASE}streams`}>Who</a>`} />
      <${Chart} title="Disk: store" minutes=${minutes} format=${bytes} binary lines=${[line('store_bytes', 'store')]} />
      <${Chart} title="Disk: free" minutes=${minutes} format=${bytes} binary lines=${[line('free_bytes', 'free', { tone: '2' })]} />
    </div>`;
}

/** @param {string} name */
const providerName = (name) => providerLabel(`PROVIDER_${name.toUpperCase()}`) || name || 'none';

/** One line for each value of a label, those with the most first. @param {Series[]} series @param {string} label @param {(value: string) => string} name */
function byLabel(series, label, name) {
  /** @type {Map<string, number[]>} */
  const sums = new Map();
  for (const s of series) {
    const key = s.labels?.[label] ?? '';
    const values = numbers(s.values);
    const old = sums.get(key);
    sums.set(key, old ? old.map((v, i) => (Number.isFinite(v) ? v : 0) + (Number.isFinite(values[i]) ? values[i] ?? 0 : 0)) : values);
  }
  const total = (/** @type {number[]} */ v) => v.filter(Number.isFinite).reduce((a, b) => a + b, 0);
  return [...sums].sort((a, b) => total(b[1]) - total(a[1])).map(([key, values]) => ({ label: name(key), values }));
}

/** @param {{overview: Answer, now: number}} props */
const Providers = ({ overview, now }) => html`
  <section class="card">
    <h2>Providers</h2>
    <div class="scroll" tabindex="0" role="group" aria-label="Providers"><table>
      <thead><tr><th scope="col">Provider</th><th scope="col">Verification</th><th scope="col">Last taken</th><th scope="col">Last refused</th></tr></thead>
      <tbody>${(overview.providers ?? []).map((p) => html`<tr key=${p.provider}>
        <th scope="row">${providerLabel(p.provider)}</th>
        <td>${(p.modes ?? []).map((m) => html`<${Badge} key=${m} tone=${m === 'VERIFICATION_MODE_ENFORCE' ? 'good' : 'warn'}>${words(m, 'VERIFICATION_MODE_')}</${Badge}> `)}</td>
        <td><${Ago} time=${p.lastTakenTime} now=${now} /></td><td><${Ago} time=${p.lastRefusedTime} now=${now} /></td></tr>`)}</tbody>
    </table></div>
    ${(overview.providers ?? []).length === 0 ? html`<p class="muted">No provider is configured: nothing can be delivered.</p>` : null}
    <p class="muted">Since the gateway was started. What a provider sends and is not here may be in <a href=${`${BASE}refused`}>Refused</a>.</p>
  </section>`;

/** @param {{overview: Answer, now: number}} props */
const Configuration = ({ overview, now }) => html`
  <section class="card">
    <h2>Configuration in force</h2>
    <${Facts} rows=${[
      ['Fingerprint', html`<code>${overview.configFingerprint}</code> <${Copy} quiet text=${overview.configFingerprint ?? ''} label="Copy" />`],
      ['In force since', html`<${When} time=${overview.configTime} now=${now} />`],
      ['Started', html`<${When} time=${overview.startTime} now=${now} />`],
      ['Warnings', overview.warnings?.length ? plural(overview.warnings.length, 'warning') : 'none'],
    ]} />
    <p class="muted">Two gateways with the same fingerprint have the same configuration, but for the values of secrets. <code>GET /admin/config</code> prints it.</p>
  </section>`;

/** @param {{overview: Answer}} props */
const Members = ({ overview }) => html`
  <section class="card">
    <h2>Members</h2>
    ${overview.members?.length
      ? html`<ul class="plain">${overview.members.map((m) => html`<li key=${m.address}><code>${m.address}</code>${m.self ? html` <${Badge}>this one</${Badge}>` : null}</li>`)}</ul>`
      : html`<p class="muted">This gateway shares its event log with no other one, or does not see the others at present.</p>`}
  </section>`;
