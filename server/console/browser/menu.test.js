// The navigation in a narrow window, where it is opened.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits, onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => { gateway = await Gateway.start(); });
after(() => gateway?.stop());

/** @param {import('playwright-core').Page} page */
const parts = (page) => ({ menu: page.getByRole('button', { name: 'Menu' }), find: page.getByRole('navigation').getByRole('link', { name: 'Find' }) });

test('it opens before the scripts are there, and stays open when they are', () => onPage({ gateway, path: '/console/sessions', width: 360 }, async (page) => {
  await shown(page, /sessions/i);
  /** @type {() => void} */
  let release = () => {};
  const held = new Promise((resolve) => { release = () => resolve(undefined); });
  await page.route('**/main.js', async (route) => { await held; await route.continue(); });
  await page.goto(`${gateway.origin}/console/sessions`, { waitUntil: 'commit' });
  const { menu, find } = parts(page);
  await menu.click();
  assert.equal(await find.isVisible(), true);
  await find.focus();
  await accessible(page);
  for (const button of await page.getByRole('button').all()) assert.equal((await button.textContent())?.trim(), 'Menu', 'what does nothing yet is not shown');
  release();
  await shown(page, /sessions/i);
  assert.equal(await find.isVisible(), true);
  assert.equal(await page.evaluate(() => document.activeElement?.textContent?.trim()), 'Find');
  await page.getByRole('button', { name: 'Shortcuts' }).waitFor();
}));

test('it is closed by its button, by Escape and by a click beside it, and by what is chosen', () => onPage({ gateway, path: '/console/sessions', width: 360 }, async (page) => {
  await shown(page, /sessions/i);
  const { menu, find } = parts(page);
  /** @type {(() => Promise<unknown>)[]} */
  const closes = [() => menu.click(), () => page.keyboard.press('Escape'), () => page.mouse.click(180, 700)];
  for (const close of closes) {
    await menu.click();
    assert.equal(await find.isVisible(), true);
    await accessible(page);
    await fits(page);
    await close();
    assert.equal(await find.isVisible(), false);
  }
  await menu.click();
  await find.click();
  await shown(page, /find/i);
  assert.equal(await find.isVisible(), false);
  await menu.click();
  await find.click();
  await until(async () => !await find.isVisible(), 'it is closed also if one is there already');
  await menu.click();
  await page.goBack();
  await shown(page, /sessions/i);
  await until(async () => !await find.isVisible(), 'it is closed by going back');
}));

test('its shortcuts are a dialog, after which the focus is on the page', () => onPage({ gateway, path: '/console/sessions', width: 360 }, async (page) => {
  await shown(page, /sessions/i);
  const { menu, find } = parts(page);
  await menu.click();
  await page.getByRole('button', { name: 'Shortcuts' }).click();
  const dialog = page.getByRole('dialog', { name: 'Shortcuts' });
  await dialog.waitFor();
  assert.equal(await find.isVisible(), false);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  await until(() => page.evaluate(() => document.activeElement !== document.body), 'something has the focus');
}));

test('a window that becomes wide shows it beside the page', () => onPage({ gateway, path: '/console/sessions', width: 360 }, async (page) => {
  await shown(page, /sessions/i);
  const { menu, find } = parts(page);
  await menu.click();
  await page.setViewportSize({ width: 1280, height: 800 });
  await until(async () => await menu.isHidden() && (await page.locator('#menu').evaluate((e) => !e.matches(':popover-open'))), 'it is no menu any more');
  assert.equal(await find.isVisible(), true);
  const { x = 999 } = await page.locator('main').boundingBox() ?? {};
  const { width = 0 } = await page.locator('#menu').boundingBox() ?? {};
  assert.ok(width < x, `it is ${width} px wide beside a page at ${x}`);
}));
