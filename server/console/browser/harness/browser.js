// Debian's Chromium, and what every page is held to.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before } from 'node:test';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

/** @typedef {import('playwright-core').Page} Page */

/** Where the user is: far from UTC, which all times are in. */
const ZONE = 'Pacific/Chatham';

const executablePath = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));

/** @param {string[]} [args] */
export const launch = (args = []) => {
  if (!executablePath) throw new Error('there is no Chromium: apt-get install chromium, or set CHROMIUM to its path');
  return chromium.launch({
    executablePath,
    args: ['--disable-dev-shm-usage', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--disable-features=Translate,OptimizationHints', ...args],
    ...(process.getuid?.() === 0 && { chromiumSandbox: false }),
  });
};

/** @type {import('playwright-core').Browser} */
let browser;

/** Has a browser for the tests of a file. */
export const withBrowser = () => {
  before(async () => { browser = await launch(); });
  after(() => browser?.close());
};

/**
 * @typedef {object} Open
 * @property {import('./gateway.js').Gateway} gateway
 * @property {string} [path] of the console
 * @property {'light' | 'dark'} [scheme]
 * @property {number} [width]
 * @property {number} [height]
 * @property {boolean} [reducedMotion]
 * @property {string} [token] signs in with it beforehand
 * @property {RegExp} [refused] what of the API is expected to be refused
 */

/**
 * Runs a test on a page. Whatever happens in it, the test fails if anything asked another
 * origin, broke the policy, raised an error, or opened a dialog of the browser.
 * @param {Open} options @param {(page: Page) => Promise<void>} test
 */
export async function onPage({ gateway, path = '/console/', scheme = 'light', width = 1280, height = 800, reducedMotion = false, token, refused }, test) {
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: scheme, reducedMotion: reducedMotion ? 'reduce' : 'no-preference', locale: 'en-GB', timezoneId: ZONE,
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  context.setDefaultTimeout(10_000);
  /** @type {string[]} */
  const wrong = [];
  context.on('request', (request) => {
    const { url } = { url: request.url() };
    if (!url.startsWith(`${gateway.origin}/`) && !url.startsWith('blob:') && !url.startsWith('data:')) wrong.push(`a request left the gateway: ${url}`);
  });
  context.on('response', (response) => {
    if (response.status() >= 500 && !refused?.test(response.url())) wrong.push(`${response.url()} was answered ${response.status()}`);
  });
  context.on('dialog', (dialog) => {
    wrong.push(`a dialog of the browser: ${dialog.message()}`);
    void dialog.dismiss();
  });
  context.on('weberror', (error) => { wrong.push(`an error that nobody caught: ${error.error().stack}`); });
  context.on('page', (opened) => {
    if (context.pages().length > 1) wrong.push(`a window was opened: ${opened.url()}`);
  });
  context.on('console', (message) => {
    // Chromium says of every answer that is no success what the API said.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) wrong.push(`console: ${message.text()}`);
  });
  await context.exposeBinding('policyBroken', (_, text) => { wrong.push(`the policy was broken: ${text}`); });
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (e) => {
      /** @type {any} */ (window).policyBroken(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`);
    });
  });
  const page = await context.newPage();
  try {
    await page.goto(gateway.origin + path);
    if (token) await signIn(page, token);
    await test(page);
  } catch (error) {
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/failed-${Date.now()}.png` });
    if (wrong.length > 0) console.error(wrong.join('\n'));
    throw error;
  } finally {
    await context.close();
  }
  assert.deepEqual(wrong, []);
}

/** @param {Page} page @param {string} token */
export async function signIn(page, token) {
  await page.getByLabel(/token/i).fill(token);
  await page.getByRole('button', { name: /sign in/i }).click();
}

/** Fails if axe finds anything. @param {Page} page */
export async function accessible(page) {
  await page.evaluate(axe.source);
  const violations = await page.evaluate(async () => {
    /** @type {typeof import('axe-core')} */
    const { run } = /** @type {any} */ (window).axe;
    const found = await run(document, { resultTypes: ['violations'] });
    return found.violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map((node) => `${node.html.slice(0, 200)}\n    ${node.failureSummary}`).slice(0, 5).join('\n  ')}`);
  });
  assert.equal(violations.join('\n'), '', page.url());
}

/** Fails if the page scrolls sideways. @param {Page} page */
export async function fits(page) {
  const { page: wide, window: room, culprits } = await page.evaluate(() => ({
    page: document.documentElement.scrollWidth,
    window: window.innerWidth,
    culprits: [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 150)),
  }));
  assert.ok(wide <= room, `${page.url()} is ${wide} px wide in a window of ${room}: ${culprits.join('\n')}`);
}

/** Waits until something holds. @template T @param {() => Promise<T>} look @param {string} what @param {number} [milliseconds] */
export async function until(look, what, milliseconds = 10_000) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`it did not come about: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
