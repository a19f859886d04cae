// An event that is large is drawn in part, and can be had whole.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

withBrowser();
/** @type {Gateway} */
let gateway;
let id = '';
let body = Buffer.alloc(0);
before(async () => {
  gateway = await Gateway.start();
  const wide = Array.from({ length: 50 }, (_, n) => Array.from({ length: 200 }, (_, m) => n + m));
  await gateway.finicity({ eventType: 'done', payload: { wide, long: Array(3000).fill(1), text: 'x'.repeat(1 << 20) } });
  ({ id } = await seed.newest(gateway, {}));
  body = Buffer.from((await gateway.call('GET', `/v1/events/${id}?view=EVENT_VIEW_RAW`)).event.rawBody, 'base64');
});
after(() => gateway?.stop());

/** @param {(page: import('playwright-core').Page) => Promise<void>} test */
const onEvent = (test) => onPage({ gateway, path: `/console/events/${id}` }, async (page) => {
  await shown(page, /done/);
  await test(page);
});

test('its tree is not drawn whole, and all of it can be opened', async () => {
  await onEvent(async (page) => {
    const lines = page.getByRole('treeitem');
    const before = await lines.count();
    assert.ok(before > 200 && before < 1500, `${before} lines are drawn`);
    const last = page.locator('[role="treeitem"][aria-expanded="false"]').filter({ hasText: '200 elements' }).last();
    await last.locator('.twist').click();
    assert.equal(await lines.count(), before + 200);
    const more = page.getByRole('button', { name: /more of 3,000 elements/i });
    for (let n = 0; n < 3; n++) await more.click();
    assert.equal(await more.count(), 0, 'the last is reached');
    const text = page.getByRole('button', { name: /1,048,576 characters/ });
    const shownOf = () => page.locator('.leaf.string bdi').evaluateAll((all) => Math.max(...all.map((e) => e.textContent?.length ?? 0)));
    assert.ok(await shownOf() < 5000);
    await text.click();
    await until(async () => await shownOf() > 50_000, 'more of the text is shown');
    assert.ok(await shownOf() < 100_000);
  });
});

for (const how of ['Text', 'Hex']) {
  test(`of its bytes as ${how.toLowerCase()} a part is drawn, and a download has all`, async () => {
    await onEvent(async (page) => {
      await page.getByRole('tab', { name: /raw/i }).click();
      await page.getByRole('radio', { name: how }).click();
      const more = page.getByRole('button', { name: 'Show more', exact: true });
      while (await more.count() > 0) await more.click();
      const length = await page.locator('pre.raw').evaluate((e) => e.textContent?.length ?? 0);
      assert.ok(length > 200_000 && length < 2_000_000, `${length} characters are drawn`);
      const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: /download/i }).click()]);
      assert.equal(download.suggestedFilename(), `${id}.json`);
      assert.deepEqual(await readFile(await download.path()), body);
    });
  });
}
