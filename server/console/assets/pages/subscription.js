// One subscription: where it stands, what is parked, and moving it.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { get } from '../lib/api.js';
import { caller, manages, signOuts } from '../lib/caller.js';
import { count, duration, int, seconds } from '../lib/format.js';
import { html } from '../lib/html.js';
import { useLoad, useNow } from '../lib/load.js';
import { BASE } from '../lib/router.js';
import { said } from '../lib/said.js';
import { lookOf } from '../lib/subscriptions.js';
import { signInNeeded } from '../lib/token.js';
import { words } from '../lib/words.js';
import { Page } from '../parts/page.js';
import { Parked } from '../parts/parked.js';
import { Seek } from '../parts/seek.js';
import { Badge, Facts, Filters, Foreign, When } from '../parts/small.js';
import { Loading, Stale } from '../parts/states.js';

/** @typedef {import('../lib/types.js').Subscription} Subscription */
/** @typedef {import('../lib/said.js').Said} Said */

/** Why the user can change nothing, or nothing if they can. @param {string} name */
function readOnly(name) {
  const who = caller.value;
  if (!manages(who, name)) return html`You may look at this subscription, and not change it: that needs a grant with <code>manage: true</code>.`;
  if (!who?.consoleActions) return html`The console is read-only. To move subscriptions and to decide about parked events here, set <code>console.actions</code> to <code>true</code> in the configuration of the gateway; or use the command <code>webhook-gateway subscriptions</code>.`;
  return null;
}

/** @param {{name: string}} props */
export function SubscriptionPage({ name }) {
  const { data, error, loading, reload } = useLoad(async (signal) => /** @type {Subscription} */ ((await get(`/v1/subscriptions/${encodeURIComponent(name)}`, signal)).subscription), [name], 2000);
  const now = useNow();
  const seeking = useSignal(false);
  const began = useRef(signOuts);
  const say = (/** @type {Said} */ s) => {
    if (began.current === signOuts) said.value = { ...s, name };
    reload();
  };
  const told = said.value?.name === name ? said.value : null;
  // It is told until the page is left. What ends with the page, or after it, is told to who comes back.
  const seen = useRef(told);
  seen.current = told;
  useEffect(() => () => { if (said.value === seen.current && !signInNeeded.value) said.value = null; }, []);
  const why = readOnly(name);
  const look = data ? lookOf(data.status ?? {}) : null;
  return html`
    <${Page} title=${name} busy=${loading} lead=${html`<a href=${`${BASE}subscriptions`}>Subscriptions</a>${look ? html` · <${Badge} tone=${look.tone} sign=${look.sign}>${look.label}</${Badge}>` : null}`}
      actions=${data ? html`<button type="button" disabled=${Boolean(why)} onClick=${() => { seeking.value = true; }}>Move …</button>` : null}>
      ${error ? html`<${Stale} error=${error} retry=${reload} />` : null}
      ${loading ? html`<${Loading} what="the subscription" />` : null}
      ${why && data ? html`<p class="note">${why}</p>` : null}
      <div role="status">${told ? html`<p class=${told.sure ? 'note good' : 'note warn'}>${told.text}</p>` : null}</div>
      ${data ? html`<${Status} subscription=${data} now=${now} />
        <${Parked} name=${name} total=${int(data.status?.parkedEvents)} locked=${Boolean(why)} say=${say} />` : null}
      ${seeking.value ? html`<${Seek} name=${name} onClose=${(/** @type {Said | null} */ s) => { seeking.value = false; if (s) say(s); }} />` : null}
    </${Page}>`;
}

/** @param {{subscription: Subscription, now: number}} props */
function Status({ subscription, now }) {
  const s = subscription.status ?? {};
  const set = subscription.settings ?? {};
  /** @type {[string, string, string][]} */
  const numbers = [
    ['Lag', count(s.lagEvents), s.lagTime ? `the oldest came ${duration(Math.floor(seconds(s.lagTime)))} ago` : 'nothing is behind'],
    ['In flight', count(s.inFlightEvents), `held by ${count(s.streams)} ${s.streams === 1 ? 'worker' : 'workers'}`],
    ['Retrying', count(s.waitingEvents), 'wait for another attempt'],
    ['Parked', count(s.parkedEvents), s.oldestParkedAge ? `the oldest for ${duration(Math.floor(seconds(s.oldestParkedAge)))}` : 'none'],
    ['Ready', count(s.readyEvents), `${count(s.unreadEvents)} not looked at yet`],
  ];
  return html`
    ${s.unusable ? html`<p class="note bad"><strong>It was set aside when the gateway started:</strong> <bdi class="break">${s.unusable}</bdi></p>` : null}
    ${s.gap ? html`<p class="note bad"><strong>Events are missing,</strong> and no worker was told yet: ${s.gap.reason === 'GAP_REASON_DAMAGED' ? 'they are damaged on the disk.' : 'retention removed them before they were delivered.'}</p>` : null}
    <dl class="numbers">${numbers.map(([name, value, text]) => html`<div key=${name} class="card"><dt>${name}</dt><dd><strong class="num">${value}</strong><span class="muted">${text}</span></dd></div>`)}</dl>
    <div class="columns">
      <section class="card"><h2>What it delivers</h2><${Facts} rows=${[
        ['Filter', html`<${Filters} filters=${subscription.filters} />`],
        ['Ordering', words(String(set.ordering ?? ''), 'ORDERING_') || 'None'],
        ['Attempts', Number(set.maxAttempts) < 0 ? 'without limit' : `${set.maxAttempts ?? 10}, then parked`],
        ['Deadline', duration(seconds(String(set.ackDeadline ?? '30s')))],
        ['Backoff', `${duration(seconds(String(set.minBackoff ?? '1s')))} to ${duration(seconds(String(set.maxBackoff ?? '600s')))}`],
        int(s.leftOutEvents) > 0 ? ['Left out', `${count(s.leftOutEvents)} that failed verification`] : null,
      ]} /></section>
      <section class="card"><h2>Where it stands</h2><${Facts} rows=${[
        ['Cursor', html`<code class="break">${s.cursor}</code>`],
        ['Head', html`<code class="break">${s.headCursor}</code>`],
        s.expiresIn ? ['Expires', `retention passes the oldest in ${duration(Math.floor(seconds(s.expiresIn)))}`] : null,
        s.owner ? ['Runs at', html`<${Foreign} text=${s.owner} />`] : null,
        ['Created', html`<${When} time=${subscription.createTime} now=${now} />`],
      ]} /></section>
    </div>`;
}
