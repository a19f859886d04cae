// What a day brings: tabs in the background, answers that do not come, an upgrade.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start();
  await seed.events(gateway);
});
after(() => gateway?.stop());

/** Whether the tab is seen, as the page is told. @param {import('playwright-core').Page} page @param {boolean} seen */
const see = (page, seen) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}, !seen);

test('an event that is opened in a tab in the background is there when one looks', async () => {
  const { id } = await seed.newest(gateway, { providerEventIds: ['drift'] });
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await shown(page, /find/i);
    await page.addInitScript(() => Object.defineProperty(document, 'hidden', { configurable: true, get: () => true }));
    await page.goto(`${gateway.origin}/console/events/${id}`);
    await page.getByRole('heading', { level: 1, name: /added/ }).waitFor();
    await see(page, true);
    await shown(page, /added/);
  });
});

test('a page that was away asks as often as before', async () => {
  await onPage({ gateway, path: '/console/refused' }, async (page) => {
    await shown(page, /refused/i);
    /** @type {import('playwright-core').Route[]} */
    const asked = [];
    await page.route('**/v1/operator/refusals**', (route) => { asked.push(route); });
    await until(async () => asked.length === 1, 'it asks again');
    for (let n = 0; n < 5; n++) { await see(page, false); await see(page, true); }
    await new Promise((resolve) => setTimeout(resolve, 300)); // longer than it takes to ask
    assert.equal(asked.length, 1, 'one question is under way');
  });
});

test('a gateway that does not answer is told of', async () => {
  await onPage({ gateway, path: '/console/' }, async (page) => {
    await page.clock.install();
    await page.goto(`${gateway.origin}/console/`);
    await page.clock.runFor(1000);
    await page.getByText('All works').waitFor();
    await page.route('**/v1/operator/overview', () => {});
    await page.clock.runFor(60_000);
    await page.getByRole('alert').filter({ hasText: /no answer/i }).waitFor();
  });
});
