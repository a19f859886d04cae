// Live: where it begins, and begins again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start();
  await gateway.finicity({ customerId: 'there-before' });
});
after(() => gateway?.stop());

/** @param {import('playwright-core').Page} page @param {string} text */
const row = (page, text) => page.locator('main').getByText(text, { exact: true }).first();

/** @param {(page: import('playwright-core').Page) => Promise<void>} look */
const onLive = (look) => onPage({ gateway, path: '/console/refused', refused: /./ }, async (page) => {
  await shown(page, /refused/i);
  await look(page);
});

test('who pauses it before it knows where the log ends misses nothing', () => onLive(async (page) => {
  /** @type {import('playwright-core').Route[]} */
  const asked = [];
  await page.route('**/v1/log', (route) => { asked.push(route); }, { times: 1 });
  await page.getByRole('link', { name: 'Live' }).click();
  const route = await until(async () => asked[0], 'it asks where the log ends');
  await page.getByRole('button', { name: 'Pause' }).click();
  await route.continue();
  await row(page, 'there-before').waitFor();
  await gateway.finicity({ customerId: 'while-paused' });
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.locator('.live-bar [role="status"]').getByText(/live$/i).waitFor();
  await row(page, 'while-paused').waitFor();
  assert.equal(await page.locator('main').getByText('there-before', { exact: true }).count(), 1);
}));

for (const filter of ['?subject=between', '']) {
  test(`what comes before a stream that begins later is shown${filter && ', also if it is the first that matches'}`, () => onLive(async (page) => {
    let asked = 0;
    await page.route('**/v1/log', async (route) => {
      if (++asked === 1) { await route.abort(); return; }
      if (asked === 2) await gateway.finicity({ customerId: 'between' });
      await route.continue();
    });
    await page.evaluate((to) => { history.pushState(null, '', to); dispatchEvent(new PopStateEvent('popstate')); }, `/console/live${filter}`);
    await row(page, 'between').waitFor();
    if (!filter) await row(page, 'there-before').waitFor();
      }));
}

for (const { reason, status, gaps } of [{ reason: 'NOT_GRANTED', status: 403, gaps: 0 }, { reason: 'HISTORY_LOST', status: 400, gaps: 1 }]) {
  test(`after ${reason} it goes on ${gaps ? 'with what comes, and names the gap' : 'where it was'}`, () => onLive(async (page) => {
    await page.getByRole('link', { name: 'Live' }).click();
    await page.locator('.live-bar [role="status"]').getByText(/live$/i).waitFor();
    await page.route('**/v1/events:subscribe', (route) => route.fulfill({ status, contentType: 'application/json', body: JSON.stringify({ error: { reason, message: 'not now' } }) }), { times: 1 });
    await page.getByRole('button', { name: 'Pause' }).click();
    await gateway.finicity({ customerId: `during-${reason}` });
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.locator('.live-bar [role="status"]').getByText(/live$/i).waitFor();
    if (!gaps) await row(page, `during-${reason}`).waitFor();
    assert.equal(await page.locator('main').getByText('A gap:').count(), gaps);
  }));
}

test('nothing moves under who pauses it by looking at a row', () => onLive(async (page) => {
  await page.goto(`${gateway.origin}/console/live`);
  await page.locator('.live-bar [role="status"]').getByText(/live$/i).waitFor();
  const flood = gateway.flood(2000);
  await page.getByText('the newest 1,000 are kept here').waitFor({ timeout: 30_000 });
  await flood.stop();
  for (const width of [1280, 1000, 800, 360]) {
    await page.setViewportSize({ width, height: 900 });
    await page.locator('.live-bar [role="status"]').getByText(/live$/i).waitFor();
    const top = () => page.locator('.list-body').evaluate((list) => list.getBoundingClientRect().top);
    await until(() => page.evaluate(() => document.querySelector('.live-bar strong')?.textContent === '0'), 'it is quiet');
    const before = await top();
    await page.locator('.list-body a[data-open]').first().focus();
    await page.getByRole('button', { name: 'Resume' }).waitFor();
    assert.equal(await top(), before, `in a window of ${width}`);
    await page.getByRole('button', { name: 'Resume' }).click();
  }
}));
