// How to deliver an event again.
import { decode64 } from '../lib/format.js';
import { html } from '../lib/html.js';
import { Copy } from './small.js';

/** @typedef {import('../lib/types.js').GatewayEvent} GatewayEvent */

/** How many bytes of a body are an argument. Linux takes none of 128 KiB. */
const LONGEST = 100_000;

/** A word of a shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The delivery as a curl. The signature that came with it goes with it; a required secret was never stored. @param {GatewayEvent} event */
export function curlOf(event) {
  const body = decode64(event.rawBody);
  const provider = (event.provider ?? '').replace('PROVIDER_', '').toLowerCase();
  const url = `http://localhost:8080/v1/webhooks/${provider}/${encodeURIComponent(event.clientId ?? '')}`;
  const lines = [`curl ${quoted(url)}`];
  for (const { name = '', value = '' } of event.headers ?? []) if (!/[\r\n\0]/.test(value)) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (!(event.headers ?? []).some((h) => h.name === 'Content-Type')) lines.push("-H 'Content-Type: application/json'");
  const text = readable(body);
  if (text !== null) return [...lines, `--data-binary ${quoted(text)}`].join(' \\\n  ');
  return `${lines.join(' \\\n  ')} \\\n  --data-binary @<(printf %s ${quoted(event.rawBody ?? '')} | base64 -d)`;
}

/** The body as a text that a shell passes on byte for byte, or null. @param {Uint8Array} body */
function readable(body) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
    return body.length > LONGEST || text.startsWith('@') || /[\0-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** @param {{event: GatewayEvent, raw: boolean}} props */
export function Again({ event, raw }) {
  const command = `webhook-gateway events resend ${event.id} --to http://localhost:3000/webhooks`;
  return html`
    <section class="card">
      <h2>Deliver it again</h2>
      <p class="muted">To a URL of yours, as its provider sent it:</p>
      <div class="command"><pre tabindex="0" aria-label="Command">${command}</pre><${Copy} quiet text=${command} label="Copy command" /></div>
      ${raw ? html`<p class="muted">Or to a gateway, as a curl with the headers that were stored. Change the host. A secret that is required beside the signature was never stored: add it.</p>
          <p><${Copy} text=${() => curlOf(event)} label="Copy as curl" /></p>`
        : html`<p class="muted">As a curl it can be copied only with the view raw, which your grant lacks.</p>`}
    </section>`;
}
