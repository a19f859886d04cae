// Small parts that many pages have.
import { useSignal } from '@preact/signals';
import { ago, utc } from '../lib/format.js';
import { html } from '../lib/html.js';
import { verdictLook } from '../lib/words.js';
import { Icon } from './icon.js';

/** @param {{tone?: string, sign?: string, children?: import('../lib/html.js').Children, title?: string}} props */
export const Badge = ({ tone = 'plain', sign, children, title }) => html`<span class=${`badge ${tone}`} title=${title}>${sign ? html`<span aria-hidden="true">${sign} </span>` : null}${children}</span>`;

/** @param {{verdict: string | undefined}} props */
export function Verdict({ verdict }) {
  const look = verdictLook(verdict);
  return html`<${Badge} tone=${look.tone} sign=${look.sign}>${look.label}</${Badge}>`;
}

/** A time as it was, and how long ago. @param {{time: string | undefined, now: number}} props */
export const Ago = ({ time, now }) => (time ? html`<time datetime=${time} title=${`${utc(time)} UTC`}>${ago(time, now)}</time>` : html`<span class="muted">never</span>`);

/** A time in UTC, with how long ago beside it. @param {{time: string | undefined, now?: number}} props */
export const When = ({ time, now }) => (time ? html`<time datetime=${time} class="num">${utc(time)} UTC</time>${now ? html` <span class="muted">(${ago(time, now)})</span>` : null}` : html`<span class="muted">–</span>`);

/** Text of somebody else. @param {{text: string | undefined, none?: string}} props */
export const Foreign = ({ text, none = '–' }) => (text ? html`<bdi class="break">${text}</bdi>` : html`<span class="muted">${none}</span>`);

/** A button that copies a text. @param {{text: string | (() => string), label: string, quiet?: boolean}} props */
export function Copy({ text, label, quiet = false }) {
  const done = useSignal('');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === 'string' ? text : text());
      done.value = 'Copied';
    } catch {
      done.value = 'The browser does not let it be copied';
    }
    setTimeout(() => { done.value = ''; }, 2000);
  };
  return html`<button type="button" class=${quiet ? 'quiet small' : ''} onClick=${copy}><${Icon} name="copy" /> ${done.value || label}</button><span class="hidden" role="status">${done.value}</span>`;
}

/** Names with values. @param {{rows: ([string, unknown] | null)[]}} props null: left out */
export const Facts = ({ rows }) => html`<dl class="facts">${rows.map((row) => (row ? html`<div key=${row[0]}><dt>${row[0]}</dt><dd>${row[1]}</dd></div>` : null))}</dl>`;

/** A filter of the API in words. @param {{filters: import('../lib/types.js').EventFilter[] | undefined}} props */
export function Filters({ filters }) {
  if (!filters?.length) return html`<span class="muted">all events</span>`;
  return html`<ul class="filters">${filters.map((filter, i) => {
    const parts = Object.entries(filter).filter(([name, values]) => values?.length && !(name === 'excludeClientIds' && values.join() === 'webhook-gateway-canary')
      && !(name === 'verdicts' && values.length === 2 && !values.includes('VERIFICATION_VERDICT_FAILED')));
    return html`<li key=${i}>${parts.length === 0 ? html`<span class="muted">all events</span>` : parts.map(([name, values], n) => html`${n > 0 ? ', ' : ''}<span class="muted">${filterNames[name] ?? name}</span> <bdi class="break">${(values ?? []).slice(0, 5).map((v) => v.replace(/^(PROVIDER|EVENT_TYPE|VERIFICATION_VERDICT)_/, '')).join(', ')}${(values ?? []).length > 5 ? ` and ${(values ?? []).length - 5} more` : ''}</bdi>`)}</li>`;
  })}</ul>`;
}

/** @type {Record<string, string>} */
const filterNames = {
  providers: 'provider', eventTypes: 'type', clientIds: 'client', subjects: 'subject', verdicts: 'verdict', providerEventIds: 'provider’s id', excludeClientIds: 'not client',
};
