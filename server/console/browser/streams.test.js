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

test('a clock of this machine that is wrong makes nobody slow, and nobody quick', async () => {
  const reader = await gateway.stream('/v1/events:subscribe', { filters: [{ clientIds: ['globex'] }], startPosition: 'START_POSITION_EARLIEST', heartbeatInterval: '1s' });
  try {
    while (!(await reader.next()).caughtUp);
    for (const minutes of [-10, 10]) {
      await onPage({ gateway, path: '/console/' }, async (page) => {
        await page.addInitScript((ahead) => {
          const right = Date.now;
          Date.now = () => right() + ahead;
        }, minutes * 60_000);
        await page.route('**/v1/operator/streams?*', async (route) => {
          const answer = await route.fetch();
          const now = Date.parse(answer.headers().date ?? '');
          const { streams } = await answer.json();
          const [stream] = streams;
          const since = (/** @type {number} */ seconds) => ({ ...stream, id: `${seconds}`, userAgent: `waits-${seconds}`, blockedRatio: 0, blockedSince: new Date(now - seconds * 1000).toISOString() });
          await route.fulfill({ response: answer, json: { streams: [since(0.1), since(60)] } });
        });
        await page.goto(`${gateway.origin}/console/streams`);
        await shown(page, /streams/i);
        const rows = page.locator('main').getByRole('row');
        await rows.filter({ hasText: 'waits-60' }).getByText(/slow: waits (59 s|1 min)/i).waitFor();
        await rows.filter({ hasText: 'waits-0.1' }).getByText(/caught up/i).waitFor();
      });
    }
  } finally {
    reader.close();
  }
});
