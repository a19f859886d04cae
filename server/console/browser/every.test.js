// What holds on every page.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits, onPage, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { all, fill, shown } from './harness/pages.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start({ actions: true });
  await fill(gateway);
});
after(() => gateway?.stop());

/** Shows one page after the other. @param {Omit<import('./harness/browser.js').Open, 'gateway'>} how @param {(page: import('playwright-core').Page, name: RegExp) => Promise<void>} look */
const onEach = (how, look) => onPage({ gateway, ...how }, async (page) => {
  for (const [path, name] of Object.entries(await all(gateway))) {
    await page.goto(gateway.origin + path);
    await shown(page, name);
    await look(page, name);
  }
});

for (const scheme of /** @type {const} */ (['light', 'dark'])) {
  test(`axe finds nothing in ${scheme}`, () => onEach({ scheme }, async (page, name) => {
    await accessible(page);
    assert.match(await page.title(), name);
  }));
}

test('a narrow window does not scroll sideways, and axe finds nothing there', () => onEach({ width: 360 }, async (page) => {
  await fits(page);
  await accessible(page);
}));

test('in a narrow window a row is a card, whose fields stand close', () => onPage({ gateway, path: '/console/refused', width: 360 }, async (page) => {
  await shown(page, /refused/i);
  const count = page.getByRole('table').getByRole('cell', { name: 'Count 1', exact: true }).first();
  const { height = 0 } = await count.boundingBox() ?? {};
  assert.ok(height > 0 && height < 40, `one line is ${height} px high`);
  assert.equal(await page.getByRole('columnheader').count(), 9, 'it is still a table to who does not see it');
}));

test('a wide window is used, and does not scroll sideways', () => onEach({ width: 3840, height: 2160 }, fits));

test('who wants no motion has none', () => onEach({ reducedMotion: true }, async (page) => {
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].filter((e) => {
    const style = getComputedStyle(e);
    const most = (/** @type {string} */ list) => Math.max(...list.split(',').map((s) => parseFloat(s) * (s.trim().endsWith('ms') ? 1 : 1000)));
    return most(style.transitionDuration) > 1 || (style.animationName !== 'none' && most(style.animationDuration) > 1);
  }).map((e) => e.outerHTML.slice(0, 100)));
  assert.deepEqual(moving, []);
}));

test('every page is reached from every other, by its link', async () => {
  await onPage({ gateway, path: '/console/' }, async (page) => {
    const main = page.getByRole('navigation').first();
    for (const [path, name] of Object.entries(await all(gateway)).filter(([path]) => path.split('/').length < 4)) {
      const link = main.getByRole('link', { name });
      await link.click();
      await shown(page, name);
      assert.equal(new URL(page.url()).pathname, path);
      assert.equal(await link.getAttribute('aria-current'), 'page');
    }
    await page.goBack();
    await shown(page, /subscriptions/i);
  });
});

test('a path that there is not says so', async () => {
  const answer = await fetch(`${gateway.origin}/console/nothing-of-the-kind`);
  assert.equal(answer.status, 404);
  assert.match(await answer.text(), /no such page/);
});
