// Overview: its numbers are those of the metrics.
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
  await seed.refused(gateway);
  await seed.parked(gateway, 'billing', 3);
  await until(async () => (await gateway.call('GET', '/v1/operator/history')).series?.some((/** @type {any} */ s) => s.name === 'refusals' && s.values.some((/** @type {any} */ v) => v > 0)), 'something was measured', 30_000);
});
after(() => gateway?.stop());

test('it says how the gateway is', async () => {
  const overview = await gateway.call('GET', '/v1/operator/overview');
  await onPage({ gateway, path: '/console/' }, async (page) => {
    await shown(page, /overview/i);
    const main = page.locator('main');
    await main.getByText(overview.configFingerprint).first().waitFor();
    await main.getByText(overview.version).first().waitFor();
    await main.getByText(overview.warnings[0]).first().waitFor();
    for (const provider of [/^finicity$/i, /^vezgo$/i]) await main.getByText(provider).first().waitFor();
  });
});

test('it says which subscription somebody should look at', () => onPage({ gateway, path: '/console/' }, async (page) => {
  await shown(page, /overview/i);
  const health = page.getByRole('region', { name: 'Health' });
  await health.getByText(/look at something/).waitFor();
  await health.getByRole('listitem').filter({ hasText: 'billing: 3 events parked' }).getByRole('link', { name: 'billing' }).click();
  await shown(page, /billing/i);
}));

test('its charts have a text, and the numbers of /metrics', async () => {
  const history = await gateway.call('GET', '/v1/operator/history');
  const seconds = parseFloat(history.interval);
  const sum = (/** @type {string} */ name) => history.series.filter((/** @type {any} */ s) => s.name === name).flatMap((/** @type {any} */ s) => s.values).filter(Number.isFinite).reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0) * seconds;
  const taken = [...(await gateway.metrics('webhook_gateway_deliveries_total'))];
  const count = (/** @type {RegExp} */ outcome) => taken.filter(([labels]) => outcome.test(labels)).reduce((n, [, value]) => n + value, 0);
  const stored = count(/outcome="(stored|duplicate|conflict)"/);
  const refused = taken.reduce((n, [, value]) => n + value, 0) - stored;
  assert.ok(Math.abs(sum('deliveries') - stored) < 0.5 + stored / 20, `${sum('deliveries')} of ${stored} deliveries`);
  assert.ok(Math.abs(sum('refusals') - refused) < 0.5, `${sum('refusals')} of ${refused} refusals`);
  await onPage({ gateway, path: '/console/' }, async (page) => {
    await shown(page, /overview/i);
    for (const name of [/^Deliveries, the last .+: now .+, at most .+\.$/, /^Refusals, the last .+: now .+, at most .+\.$/, /^Delay to live streams[:,]/, /^Lag of /, /^Disk: store, the last /]) {
      await page.getByRole('img', { name }).waitFor();
    }
  });
});
