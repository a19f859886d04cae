// What is painted before the scripts of the console are there.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, launch, onPage, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => { gateway = await Gateway.start(); });
after(() => gateway?.stop());

/** The page as a line a part, without what only a script knows. @param {import('playwright-core').Page} page */
const drawn = (page) => page.evaluate(() => {
  /** @param {Node} node @returns {string} */
  const of = (node) => {
    if (node instanceof Text) return node.data.replace(/\s+/g, ' ');
    if (!(node instanceof Element) || node.localName === 'noscript') return '';
    const attributes = [...node.attributes].filter((a) => a.value !== '' && a.name !== 'aria-current').map((a) => ` ${a.name}="${a.value}"`).sort();
    return `\n<${node.localName}${attributes.join('')}>${[...node.childNodes].map(of).join('').replace(/^ +| +$/g, '')}`;
  };
  return of(/** @type {Element} */ (document.getElementById('app'))).replace(/ *\n */g, '\n');
});

for (const path of ['/console/', '/console/live']) {
  test(`${path} is painted before its scripts, and they draw the same`, () => onPage({ gateway, path: '/console/sessions' }, async (page) => {
    await shown(page, /sessions/i);
    /** @type {() => void} */
    let release = () => {};
    const held = new Promise((resolve) => { release = () => resolve(undefined); });
    await page.route('**/main.js', async (route) => { await held; await route.continue(); });
    await page.route('**/v1/caller', () => {}); // it has no answer in this test
    await page.goto(gateway.origin + path, { waitUntil: 'commit' });
    await page.getByRole('heading', { name: 'webhook-gateway' }).waitFor();
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
    assert.equal(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint').length), 1);
    await accessible(page);
    const before = await drawn(page);
    release();
    await page.locator('nav [aria-current="page"]').waitFor();
    assert.equal(await drawn(page), before);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
  }));
}

test('the theme can be chosen before the scripts are there, and stays', () => onPage({ gateway, path: '/console/sessions' }, async (page) => {
  await shown(page, /sessions/i);
  const theme = page.getByLabel('Theme');
  const colours = () => page.evaluate(() => document.documentElement.dataset.theme ?? '');
  /** @param {string} was @param {string} chosen */
  const choose = async (was, chosen) => {
    /** @type {() => void} */
    let release = () => {};
    const held = new Promise((resolve) => { release = () => resolve(undefined); });
    await page.route('**/main.js', async (route) => { await held; await route.continue(); }, { times: 1 });
    await page.goto(`${gateway.origin}/console/sessions`, { waitUntil: 'commit' });
    await page.getByRole('heading', { name: 'webhook-gateway' }).waitFor();
    await page.waitForFunction((value) => document.querySelector('select')?.value === value, was);
    assert.equal(await colours(), was);
    await theme.selectOption(chosen);
    assert.equal(await colours(), chosen);
    release();
    await shown(page, /sessions/i);
    assert.deepEqual([await colours(), await theme.inputValue()], [chosen, chosen]);
  };
  await choose('', 'dark');
  await choose('dark', 'light');
  await theme.selectOption('');
  assert.equal(await colours(), '');
  await page.reload();
  await shown(page, /sessions/i);
  assert.deepEqual([await colours(), await theme.inputValue()], ['', '']);
}));

test('scripts that cannot be loaded are told of', () => onPage({ gateway, path: '/console/sessions' }, async (page) => {
  await shown(page, /sessions/i);
  await page.route('**/lib/router.js', (route) => route.fulfill({ status: 404, body: 'gone' }));
  await page.goto(`${gateway.origin}/console/sessions`, { waitUntil: 'commit' });
  await page.getByRole('alert').getByText('Load this page again').waitFor();
  await accessible(page);
  assert.equal(await page.locator('[aria-busy]').count(), 0);
}));

test('a browser that does not know what the scripts use is told of', async () => {
  const browser = await launch();
  try {
    const page = await (await browser.newContext()).newPage();
    // As a browser that knows no import maps takes it.
    await page.route('**/main.js', (route) => route.fulfill({ contentType: 'text/javascript', body: "import 'not-in-the-map';" }));
    await page.goto(`${gateway.origin}/console/`);
    await page.getByRole('alert').getByText('may be too old for it').waitFor();
    assert.equal(await page.locator('[aria-busy]').count(), 0);
  } finally {
    await browser.close();
  }
});

test('without scripts it says what to use instead, and shows nothing that does not work', async () => {
  const browser = await launch();
  try {
    const page = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
    await page.goto(`${gateway.origin}/console/`);
    await page.locator('noscript p').waitFor();
    assert.equal(await page.getByRole('navigation').isVisible(), false);
  } finally {
    await browser.close();
  }
});
