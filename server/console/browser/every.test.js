// What holds on every page.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits, onPage, signIn, withBrowser } from './harness/browser.js';
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

/** What is only there once it is opened. @type {[string, (page: import('playwright-core').Page) => Promise<unknown>][]} */
const dialogs = [
  ['/console/find', async (page) => { await page.keyboard.press('?'); }],
  ['/console/subscriptions/billing', async (page) => {
    await page.locator('main').getByRole('button', { name: /move/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('radio', { name: 'a cursor' }).check();
    await dialog.getByRole('textbox', { name: 'Cursor' }).fill('nonsense');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    await dialog.getByRole('alert').waitFor();
  }],
  ['/console/subscriptions/billing', async (page) => {
    await page.locator('main').getByRole('button', { name: /move/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    await dialog.getByText(/it would deliver/i).waitFor();
  }],
  ['/console/subscriptions/billing', async (page) => {
    await page.locator('main').getByRole('row').nth(1).getByRole('checkbox').check();
    await page.locator('main').getByRole('button', { name: 'Replay 1' }).click();
  }],
  ['/console/subscriptions/billing', async (page) => {
    await page.route('**/parkedEvents:discard', () => {});
    await page.locator('main').getByRole('button', { name: 'Discard all' }).click();
    const dialog = page.getByRole('dialog');
    await accessible(page);
    await dialog.getByRole('textbox').fill('discard');
    await accessible(page); // the button can be pressed by now
    await dialog.getByRole('button', { name: 'Discard all' }).click();
    await dialog.getByRole('progressbar').waitFor();
  }],
];

for (const scheme of /** @type {const} */ (['light', 'dark'])) {
  test(`axe finds nothing in ${scheme}`, () => onEach({ scheme }, async (page, name) => {
    await accessible(page);
    assert.match(await page.title(), name);
    // Tabs hide what is below the others.
    for (const tab of (await page.getByRole('tab').all()).slice(1)) {
      await tab.click();
      await accessible(page);
    }
  }));

  const width = scheme === 'light' ? 360 : 1280;
  test(`axe finds nothing in the dialogs in ${scheme}, ${width} px wide`, () => onPage({ gateway, scheme, width }, async (page) => {
    for (const [path, open] of dialogs) {
      await page.goto(gateway.origin + path);
      await shown(page, /./);
      await open(page);
      await page.getByRole('dialog', { name: /\w/ }).waitFor();
      await accessible(page);
      await fits(page);
    }
  }));
}

test('axe finds nothing where one is asked for a token, and where nothing is granted, in the dark', async () => {
  const closed = await Gateway.start({ grants: { nothing: { subscriptions: [{ prefix: 'x-' }] } } });
  try {
    await onPage({ gateway: closed, scheme: 'dark' }, async (page) => {
      await signIn(page, `whg_${'0'.repeat(64)}`);
      await page.getByRole('alert').waitFor();
      await accessible(page);
      await signIn(page, closed.tokens.nothing ?? '');
      await page.getByText('This page is not granted to you.').waitFor();
      await accessible(page);
    });
  } finally {
    await closed.stop();
  }
});

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

test('on paper there is what is read, dark on light', () => onEach({ scheme: 'dark' }, async (page) => {
  await page.evaluate(() => { document.documentElement.dataset.theme = 'dark'; });
  await page.emulateMedia({ media: 'print' });
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), 'rgb(255, 255, 255)');
  for (const control of await page.getByRole('navigation').or(page.getByRole('button')).or(page.getByRole('search')).all()) assert.equal(await control.isVisible(), false);
  assert.ok((await page.getByRole('heading', { level: 1 }).boundingBox())?.x === 0);
  await page.emulateMedia({ media: 'screen' });
}));

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
  await onPage({ gateway, path: '/console/nothing-of-the-kind' }, async (page) => {
    await page.getByText('There is no such page.').waitFor();
    await page.getByRole('link', { name: 'Find' }).click();
    await shown(page, /find/i);
  });
});
