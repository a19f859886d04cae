// The bytes of a delivery, as text and in hex, and its headers.
import { useSignal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { bytes, decode64 } from '../lib/format.js';
import { html } from '../lib/html.js';
import { Copy } from './small.js';

/** @typedef {import('../lib/types.js').GatewayEvent} GatewayEvent */

/** How many bytes are drawn at first, and at most. */
const SHOWN = 16 << 10;
const MOST = 256 << 10;

const hidden = (/** @type {GatewayEvent} */ event) => (event.masked?.length
  ? html`<p class="muted">It is masked: your grant hides fields, which the bytes would show.</p>`
  : html`<p class="muted">Your grant does not show it: it lacks the view raw.</p>`);

/** @param {{event: GatewayEvent, raw: boolean}} props */
export function RawBody({ event, raw }) {
  const how = useSignal('text');
  const shown = useSignal(SHOWN);
  const body = useMemo(() => decode64(event.rawBody), [event]);
  if (!raw) return hidden(event);
  const part = body.subarray(0, shown.value);
  return html`
    <div class="raw-bar">
      <fieldset class="choice"><legend class="hidden">Show the bytes as</legend>
        ${['text', 'hex'].map((h) => html`<label key=${h}><input type="radio" name="bytes" value=${h} checked=${how.value === h} onChange=${() => { how.value = h; }} /> ${h === 'hex' ? 'Hex' : 'Text'}</label>`)}
      </fieldset>
      <span class="muted num">${bytes(body.length)}</span>
      <${Copy} quiet text=${() => new TextDecoder().decode(body)} label="Copy text" />
      <button type="button" class="quiet small" onClick=${() => save(body, `${event.id}.json`)}>Download</button>
    </div>
    <pre class=${`raw ${how.value}`} tabindex="0" aria-label=${how.value === 'hex' ? 'Bytes in hex' : 'Bytes as text'}>${how.value === 'hex' ? hex(part) : new TextDecoder().decode(part)}</pre>
    ${body.length > shown.value ? html`<p>${shown.value < MOST ? html`<button type="button" onClick=${() => { shown.value = Math.min(shown.value * 4, MOST); }}>Show more</button> ` : null}
      <span class="muted">${bytes(shown.value)} of ${bytes(body.length)} are shown${shown.value < MOST ? '' : '. Download it to see the rest'}</span></p>` : null}`;
}

/** Saves bytes as a file. @param {Uint8Array<ArrayBuffer>} data @param {string} name */
function save(data, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([data]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // by then it is being read
}

/** Lines of 16 bytes: where, the bytes, and what of them is ASCII. @param {Uint8Array} data */
function hex(data) {
  const lines = [];
  for (let at = 0; at < data.length; at += 16) {
    const line = [...data.subarray(at, at + 16)];
    const digits = line.map((b) => b.toString(16).padStart(2, '0')).join(' ').padEnd(47);
    lines.push(`${at.toString(16).padStart(6, '0')}  ${digits}  ${line.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : '.')).join('')}`);
  }
  return lines.join('\n');
}

/** @param {{event: GatewayEvent, raw: boolean}} props */
export function Headers({ event, raw }) {
  if (!raw) return hidden(event);
  if (!event.headers?.length) return html`<p class="muted">No header was stored with it.</p>`;
  return html`
    <div class="scroll" tabindex="0" role="group" aria-label="Headers"><table class="headers"><thead><tr><th scope="col">Header</th><th scope="col">Value</th></tr></thead>
      <tbody>${event.headers.map((h, i) => html`<tr key=${i}><th scope="row"><code>${h.name}</code></th><td><code><bdi class="break">${h.value}</bdi></code></td></tr>`)}</tbody></table></div>
    <p class="muted">Stored are those that verification used, Content-Type, User-Agent, and those in <code>webhooks.stored_headers</code>.</p>`;
}
