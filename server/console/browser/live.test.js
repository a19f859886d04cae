// Live: events as they arrive.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import { trace, work } from './harness/trace.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => { gateway = await Gateway.start(); });
after(() => gateway?.stop());

/** @param {import('playwright-core').Page} page @param {string} text */
const row = (page, text) => page.locator('main').getByText(text, { exact: true }).first();

test('events appear, and stay away while it is paused', async () => {
  await onPage({ gateway, path: '/console/live' }, async (page) => {
    await shown(page, /live/i);
    await page.getByText(/caught up|live/i).and(page.locator('main *')).first().waitFor();
    await gateway.finicity({ customerId: 'customer-one' });
    await row(page, 'customer-one').waitFor();
    await page.getByRole('button', { name: /pause/i }).click();
    await gateway.finicity({ customerId: 'customer-two' });
    await new Promise((resolve) => setTimeout(resolve, 500)); // longer than an event takes
    assert.equal(await row(page, 'customer-two').count(), 0);
    await page.getByRole('button', { name: /resume|continue/i }).click();
    await row(page, 'customer-two').waitFor();
    await row(page, 'customer-one').waitFor();
  });
});

test('the filter is the URL', async () => {
  await onPage({ gateway, path: '/console/live' }, async (page) => {
    await shown(page, /live/i);
    await page.getByRole('textbox', { name: /client/i }).or(page.getByRole('searchbox', { name: /client/i })).first().fill('globex');
    await page.keyboard.press('Enter');
    await until(async () => page.url().includes('globex'), 'the URL has the client');
    await gateway.finicity({ customerId: 'of-acme' });
    await gateway.finicity({ customerId: 'of-globex' }, { client: 'globex' });
    await row(page, 'of-globex').waitFor();
    assert.equal(await row(page, 'of-acme').count(), 0);
    await page.reload();
    await shown(page, /live/i);
    await until(async () => (await page.getByRole('textbox', { name: /client/i }).or(page.getByRole('searchbox', { name: /client/i })).first().inputValue()) === 'globex', 'the filter is that of the URL');
    await gateway.finicity({ customerId: 'of-acme-2' });
    await gateway.finicity({ customerId: 'of-globex-2' }, { client: 'globex' });
    await row(page, 'of-globex-2').waitFor();
    assert.equal(await row(page, 'of-acme-2').count(), 0);
  });
});

test('it goes on after the gateway was killed, without a gap', async () => {
  await onPage({ gateway, path: '/console/live', refused: /./ }, async (page) => {
    await shown(page, /live/i);
    await gateway.finicity({ customerId: 'before-the-end' });
    await row(page, 'before-the-end').waitFor();
    await gateway.end('SIGKILL');
    await page.getByText(/reconnect|connection|lost|disconnected|try/i).and(page.locator('main *')).first().waitFor();
    await gateway.serve();
    await gateway.finicity({ customerId: 'after-the-end' });
    await row(page, 'after-the-end').waitFor({ timeout: 20_000 });
    await row(page, 'before-the-end').waitFor();
  });
});

test('a connection that is lost is said once, and not counted down aloud', async () => {
  await onPage({ gateway, path: '/console/live', refused: /./ }, async (page) => {
    await shown(page, /live/i);
    await page.locator('.live-bar [role="status"]').getByText(/live$/i).waitFor();
    await gateway.end('SIGKILL');
    await page.locator('.live-bar').getByText(/lost/i).waitFor();
    const said = await page.evaluate(() => new Promise((resolve) => {
      /** @type {Set<string>} */
      const aloud = new Set();
      /** @type {Set<string>} */
      const seen = new Set();
      const bar = /** @type {HTMLElement} */ (document.querySelector('.live-bar'));
      new MutationObserver(() => {
        seen.add(/again[^•]*?\d+ m?s/i.exec(bar.innerText)?.[0] ?? '');
        for (const e of document.querySelectorAll('main :is([role="status"], [role="alert"], [aria-live])')) aloud.add(/** @type {HTMLElement} */ (e).innerText.trim());
        if (seen.size > 3) resolve([...aloud]);
      }).observe(bar, { subtree: true, childList: true, characterData: true });
    }));
    await gateway.serve();
    assert.equal(said.length, 1, said.join('; '));
    await page.locator('.live-bar [role="status"]').getByText(/live$/i).waitFor({ timeout: 30_000 });
  });
});

test('a flood does not freeze it, and it catches up with no gap', async () => {
  await onPage({ gateway, path: '/console/live' }, async (page) => {
    await shown(page, /live/i);
    await gateway.finicity({ customerId: 'first' });
    await row(page, 'first').waitFor();
    const flood = gateway.flood(2000);
    let sent;
    try {
      const events = await trace(page, async () => {
        await new Promise((resolve) => setTimeout(resolve, 2000));
        // A click is answered while the flood is on.
        await page.getByRole('button', { name: /pause/i }).click();
        await page.getByRole('button', { name: /resume/i }).click();
        await new Promise((resolve) => setTimeout(resolve, 1000));
      });
      const { longestCPU } = work(events, gateway.origin);
      // Of the processor, so that it does not matter what else the machine does.
      assert.ok(longestCPU > 0 && longestCPU < 200, `the page was busy for ${longestCPU} ms at a stretch`);
    } finally {
      sent = await flood.stop();
    }
    await gateway.finicity({ customerId: 'last' });
    await row(page, 'last').waitFor({ timeout: 30_000 });
    assert.equal(await page.locator('main').getByText(/gap/i).count(), 0, `${sent.sent} events at ${sent.perSecond} a second`);
    const rows = await page.locator('main').getByRole('row').count();
    assert.ok(rows < 60, `${rows} rows are in the page`); // those that are seen, and a few
    // While it is hurried not every row is drawn in each frame. In the end all are right.
    const { events } = await gateway.call('POST', '/v1/events:list', { newestFirst: true, view: 'EVENT_VIEW_METADATA', pageSize: 15 });
    const newest = events.map((/** @type {{id: string}} */ e) => e.id);
    assert.deepEqual(await page.locator('.list-body a[data-open]').evaluateAll((links) => links.slice(0, 15).map((a) => a.getAttribute('href')?.split('/').at(-1))), newest);
  });
});

test('while all rows move, no frame draws more than a few of them', async () => {
  await onPage({ gateway, path: '/console/live' }, async (page) => {
    await shown(page, /live/i);
    const flood = gateway.flood(200);
    try {
      await until(() => page.evaluate(() => Number(document.querySelector('.live-bar strong')?.textContent) > 30), 'it is hurried');
      const most = await page.evaluate(() => new Promise((resolve) => {
        /** @type {Set<Element>} */
        const changed = new Set();
        let frames = 0;
        let most = 0;
        new MutationObserver((changes) => {
          for (const { target } of changes) {
            const row = (target instanceof Element ? target : target.parentElement)?.closest('[data-row]');
            if (row) changed.add(row);
          }
        }).observe(/** @type {Element} */ (document.querySelector('.list-body')), { subtree: true, childList: true, characterData: true, attributes: true });
        const frame = () => {
          most = Math.max(most, changed.size);
          changed.clear();
          if (++frames < 120) requestAnimationFrame(frame);
          else resolve(most);
        };
        requestAnimationFrame(frame);
      }));
      assert.ok(most > 0 && most <= 3, `a frame drew ${most} rows`);
    } finally {
      await flood.stop();
    }
  });
});

test('while all rows move, what is clicked is what was pressed, and the focus stays with its row', async () => {
  await onPage({ gateway, path: '/console/live' }, async (page) => {
    await shown(page, /live/i);
    const flood = gateway.flood(100);
    /** Waits for some. @param {number} frames */
    const frames = (frames) => page.evaluate((n) => new Promise((resolve) => {
      const frame = () => { if (n-- > 0) requestAnimationFrame(frame); else resolve(undefined); };
      frame();
    }), frames);
    const hurried = () => until(() => page.evaluate(() => Number(document.querySelector('.live-bar strong')?.textContent) > 30), 'it is hurried');
    /** The event of the row that has the focus, and where it is seen. */
    const focus = () => page.evaluate(() => [document.activeElement?.getAttribute('href'), document.activeElement?.getBoundingClientRect().top]);
    try {
      await hurried();
      await page.evaluate(() => addEventListener('focusin', (e) => {
        if (e.target instanceof Element) /** @type {any} */ (window).focusedFirst ??= [e.target.getAttribute('href'), e.target.getBoundingClientRect().top];
      }));
      for (let n = 0; n < 5; n++) {
        await page.evaluate(() => { delete /** @type {any} */ (window).focusedFirst; });
        await page.locator('.list-body a[data-open]').nth(5).evaluate((/** @type {HTMLElement} */ link) => link.focus());
        const first = await page.evaluate(() => /** @type {any} */ (window).focusedFirst);
        await frames(30);
        assert.deepEqual(await focus(), first);
        // What is drawn is in order, as it is stored.
        const drawn = await page.locator('.list-body a[data-open]').evaluateAll((links) => links.map((a) => a.getAttribute('href')?.split('/').at(-1)));
        const { events } = await gateway.call('POST', '/v1/events:list', { newestFirst: true, view: 'EVENT_VIEW_METADATA', pageSize: 1000 });
        const ids = events.map((/** @type {{id: string}} */ e) => e.id);
        const at = ids.indexOf(drawn[0]);
        assert.ok(at >= 0);
        assert.deepEqual(drawn, ids.slice(at, at + drawn.length));
        await page.getByRole('button', { name: /resume/i }).click();
        await frames(30);
      }
      await hurried();
      await page.evaluate(() => addEventListener('mousedown', (e) => {
        if (e.target instanceof Element) /** @type {any} */ (window).pressed = e.target.closest('a')?.getAttribute('href');
      }));
      await page.locator('.list-body a[data-open]').nth(5).hover();
      await page.mouse.down();
      await frames(60);
      await page.mouse.up();
      await page.waitForURL('**/events/*');
      assert.equal(new URL(page.url()).pathname, await page.evaluate(() => /** @type {any} */ (window).pressed));
    } finally {
      await flood.stop();
    }
  });
});

test('a page that is left while it connects reads no stream', async () => {
  await onPage({ gateway, path: '/console/refused' }, async (page) => {
    await shown(page, /refused/i);
    /** @type {import('playwright-core').Route[]} */
    const asked = [];
    await page.route('**/v1/log', (route) => { asked.push(route); });
    await page.getByRole('link', { name: 'Live' }).click();
    await until(async () => asked.length === 1, 'it asks where the log ends');
    await page.getByRole('link', { name: 'Refused' }).click();
    await shown(page, /refused/i);
    const subscribed = page.waitForRequest('**/live/worker.js', { timeout: 500 }).then(() => true, () => false);
    await asked[0]?.continue();
    assert.equal(await subscribed, false);
    assert.equal(page.workers().length, 0);
  });
});

test('a page of another version than the gateway says so', async () => {
  await onPage({ gateway, path: '/console/', refused: /./ }, async (page) => {
    await shown(page, /overview/i);
    await page.route('**/live/worker.js', (route) => route.fulfill({ status: 404, body: 'gone' }));
    await page.getByRole('link', { name: 'Live' }).click();
    await page.getByRole('alert').getByText('The gateway has another version by now.').waitFor();
    await page.unroute('**/live/worker.js');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.locator('.live-bar [role="status"]').getByText(/live$/i).waitFor();
  });
});
