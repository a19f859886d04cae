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

for (const scheme of /** @type {const} */ (['light', 'dark'])) {
  test(`axe finds nothing in ${scheme}`, async () => {
    for (const [path, name] of Object.entries(await all(gateway))) {
      await onPage({ gateway, path, scheme }, async (page) => {
        await shown(page, name);
        await accessible(page);
        assert.match(await page.title(), name);
      });
    }
  });
}

test('a narrow window does not scroll sideways, nor does a wide one', async () => {
  for (const width of [360, 3840]) {
    for (const [path, name] of Object.entries(await all(gateway))) {
      await onPage({ gateway, path, width }, async (page) => {
        await shown(page, name);
        await fits(page);
        if (width === 360) await accessible(page);
      });
    }
  }
});

test('who wants no motion has none', async () => {
  for (const [path, name] of Object.entries(await all(gateway))) {
    await onPage({ gateway, path, reducedMotion: true }, async (page) => {
      await shown(page, name);
      const moving = await page.evaluate(() => document.getAnimations().filter((a) => Number(a.effect?.getComputedTiming().duration ?? 0) > 1).length);
      assert.equal(moving, 0, path);
      const slow = await page.evaluate(() => [...document.querySelectorAll('*')].filter((e) => {
        const style = getComputedStyle(e);
        const most = (/** @type {string} */ list) => Math.max(...list.split(',').map((s) => parseFloat(s) * (s.trim().endsWith('ms') ? 1 : 1000)));
        return most(style.transitionDuration) > 1 || (style.animationName !== 'none' && most(style.animationDuration) > 1);
      }).map((e) => e.outerHTML.slice(0, 100)));
      assert.deepEqual(slow, [], path);
    });
  }
});

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
