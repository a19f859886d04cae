// Sessions: who finished, who failed, and who got stuck.
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
  await seed.session(gateway, 'customer-done', seed.whole);
  await seed.session(gateway, 'customer-failed', ['started', 'institutionSupported', 'unableToConnect', 'started']);
  // Who starts again has not finished what was begun.
  await seed.session(gateway, 'customer-stalled', ['started', 'institutionSupported', 'adding', 'started']);
  await until(async () => {
    const { sessions } = await gateway.call('GET', '/v1/sessions');
    return ['DONE', 'FAILED', 'STALLED'].every((state) => sessions?.some((/** @type {any} */ s) => s.state === `SESSION_STATE_${state}`));
  }, 'there is a session of each state');
});
after(() => gateway?.stop());

test('each session says where it stands, and what is missing', async () => {
  await onPage({ gateway, path: '/console/sessions' }, async (page) => {
    await shown(page, /sessions/i);
    const entry = (/** @type {string} */ customer, /** @type {string} */ state) => page.locator('main').getByRole('listitem').filter({ hasText: customer }).filter({ hasText: state });
    await entry('customer-done', 'Done').waitFor();
    await entry('customer-failed', 'Failed').getByText('unableToConnect').waitFor();
    const stalled = entry('customer-stalled', 'Stalled').filter({ hasText: 'Missing' });
    await stalled.waitFor();
    const text = await stalled.innerText();
    assert.deepEqual(['processing', 'added', 'done'].filter((type) => !(text.split('Missing:')[1] ?? '').includes(type)), []);
    for (const type of ['started', 'institutionSupported', 'adding']) await stalled.getByRole('link', { name: type }).waitFor();
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
