// Refused: the first thing to look at when a provider does not arrive.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { refusalHints } from '../assets/lib/words.js';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => { gateway = await Gateway.start(); });
after(() => gateway?.stop());

const expected = [/signature.?missing/i, /signature.?mismatch/i, /client.?(unknown|not.?found)|unknown.?client/i];

test('what was refused is there, also after the gateway was killed', async () => {
  await onPage({ gateway, path: '/console/refused' }, async (page) => {
    await shown(page, /refused/i);
    await page.locator('main').getByText('Nothing was refused.').first().waitFor();
  });
  await seed.refused(gateway);
  const see = () => onPage({ gateway, path: '/console/refused' }, async (page) => {
    await shown(page, /refused/i);
    const rows = page.getByRole('row');
    for (const reason of expected) await rows.filter({ hasText: reason }).first().waitFor();
    await rows.filter({ hasText: 'nobody' }).waitFor();
    await rows.filter({ hasText: expected[0] }).filter({ hasText: '401' }).filter({ hasText: '127.0.0.1' }).waitFor();
  });
  await see();
  await new Promise((resolve) => setTimeout(resolve, 1500)); // those of the last second may be lost
  await gateway.end('SIGKILL');
  await gateway.serve();
  await see();
});

test('alike ones are counted', async () => {
  for (let n = 0; n < 3; n++) await gateway.post('/v1/webhooks/finicity/elsewhere', '{}', {});
  await until(async () => {
    const { refusals } = await gateway.call('GET', '/v1/operator/refusals');
    return refusals?.some((/** @type {any} */ r) => r.clientId === 'elsewhere' && r.count === '3');
  }, 'they are counted');
  await onPage({ gateway, path: '/console/refused' }, async (page) => {
    await shown(page, /refused/i);
    await page.getByRole('row').filter({ hasText: 'elsewhere' }).getByText(/^(×\s*)?3(\s*×)?$/).waitFor();
  });
});

test('each reason can be chosen, and says what to do', async () => {
  const proto = await readFile(new URL('../../../proto/webhookgateway/v1/error_reason.proto', import.meta.url), 'utf8');
  const ofDeliveries = [...proto.matchAll(/ERROR_REASON_(\w+) = (\d+);/g)].filter(([, , n]) => Number(n) > 0 && Number(n) < 40).map(([, name]) => name);
  assert.ok(ofDeliveries.length > 20, 'the reasons of deliveries are the first of the enum');
  for (const reason of ofDeliveries) assert.ok(refusalHints[reason ?? ''], reason);
  await fetch(`http://${gateway.webhooks}/v1/webhooks/finicity/dev`);
  await onPage({ gateway, path: '/console/refused?reason=ERROR_REASON_METHOD_NOT_ALLOWED' }, async (page) => {
    await shown(page, /refused/i);
    await page.getByRole('row').filter({ hasText: /method not allowed/i }).filter({ hasText: '405' }).waitFor();
    assert.equal(await page.getByLabel('Reason').inputValue(), 'ERROR_REASON_METHOD_NOT_ALLOWED', 'what is in force is what is shown');
    await page.getByText('It was no POST').waitFor();
  });
});
