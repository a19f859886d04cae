// Sessions: who finished, who failed, and who got stuck.
import { after, before, test } from 'node:test';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start({ config: { sessions: { stalled_after: '1s' } } });
  await seed.session(gateway, 'customer-done', seed.whole);
  await seed.session(gateway, 'customer-failed', ['started', 'institutionSupported', 'unableToConnect']);
  await seed.session(gateway, 'customer-stalled', ['started', 'institutionSupported', 'adding']);
  await until(async () => {
    const { sessions } = await gateway.call('GET', '/v1/sessions');
    return sessions?.some((/** @type {any} */ s) => s.state === 'SESSION_STATE_STALLED');
  }, 'a session is stalled');
});
after(() => gateway?.stop());

test('each session says where it stands, and what is missing', async () => {
  await onPage({ gateway, path: '/console/sessions' }, async (page) => {
    await shown(page, /sessions/i);
    const main = page.locator('main');
    for (const [customer, state] of /** @type {const} */ ([['customer-done', /done/i], ['customer-failed', /failed/i], ['customer-stalled', /stalled/i]])) {
      await main.locator('li, tr, article, section').filter({ hasText: customer }).last().getByText(state).first().waitFor();
    }
    const stalled = main.locator('li, tr, article, section').filter({ hasText: 'customer-stalled' }).last();
    await stalled.getByText(/missing|lacks/i).first().waitFor();
    for (const type of ['processing', 'added', 'done']) await stalled.getByText(new RegExp(type)).first().waitFor();
  });
});

test('only those in a state are listed when that is asked for', async () => {
  await onPage({ gateway, path: '/console/sessions' }, async (page) => {
    await shown(page, /sessions/i);
    await page.getByText('customer-done').first().waitFor();
    await page.getByRole('combobox', { name: /state/i }).selectOption({ label: 'Stalled' });
    await page.getByText('customer-done').first().waitFor({ state: 'detached' });
    await page.getByText('customer-stalled').first().waitFor();
    await page.reload();
    await page.getByText('customer-stalled').first().waitFor();
    await page.getByText('customer-done').first().waitFor({ state: 'detached' });
  });
});
