// Streams: who is connected, and how slow.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { onPage, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => { gateway = await Gateway.start(); });
after(() => gateway?.stop());

/** A reader that reads nothing. @param {string} body */
function sleeper(body) {
  const [host = '', port] = gateway.internal.split(':');
  const socket = net.connect({ host, port: Number(port) });
  socket.pause();
  socket.write(`POST /v1/events:subscribe HTTP/1.1\r\nHost: ${gateway.internal}\r\nUser-Agent: sleeper\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  return socket;
}

test('a reader that does not read is seen as slow, and its neighbour is not', async () => {
  for (let n = 0; n < 40; n++) await gateway.finicity({ eventType: 'done', payload: { filling: 'f'.repeat(1 << 20) } });
  const slow = sleeper(JSON.stringify({ filters: [{ clientIds: ['acme'] }], startPosition: 'START_POSITION_EARLIEST', view: 'EVENT_VIEW_RAW' }));
  const quick = await gateway.stream('/v1/events:subscribe', { filters: [{ clientIds: ['globex'] }], startPosition: 'START_POSITION_EARLIEST', heartbeatInterval: '1s' });
  try {
    while (!(await quick.next()).caughtUp);
    await onPage({ gateway, path: '/console/streams' }, async (page) => {
      await shown(page, /streams/i);
      const rows = page.locator('main').getByRole('row');
      await rows.filter({ hasText: 'acme' }).getByText(/slow|blocked|waits|limit/i).first().waitFor({ timeout: 20_000 });
      assert.equal(await rows.filter({ hasText: 'globex' }).getByText(/slow|blocked|waits|limit/i).count(), 0);
    });
  } finally {
    slow.destroy();
    quick.close();
  }
});
