// Who sees what.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, onPage, signIn, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { all, drawn, fill, shown } from './harness/pages.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start({
    grants: {
      everything: { operator: true, filters: [{}], views: ['full', 'raw', 'metadata'], subscriptions: [{ prefix: '', manage: true }] },
      reader: { filters: [{ client_ids: ['acme'] }], views: ['full', 'raw', 'metadata'] },
      masked: { filters: [{}], mask: ['subject', 'name', 'account_id', 'account_number', 'amount'], subscriptions: [{ prefix: '' }] },
      operator: { operator: true },
      nothing: { subscriptions: [{ prefix: 'x-' }] },
    },
  });
  gateway.token = gateway.tokens.everything;
  await fill(gateway);
});
after(() => gateway?.stop());

const forms = (/** @type {import('playwright-core').Page} */ page) => page.getByRole('button', { name: /sign in/i });

test('who has no token is asked for one, and a wrong one is told', async () => {
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await forms(page).waitFor();
    await accessible(page);
    await signIn(page, `whg_${'0'.repeat(64)}`);
    await page.getByRole('alert').filter({ hasText: /token|credential/i }).waitFor();
    await forms(page).waitFor();
    await signIn(page, 'not a token at all');
    await page.getByRole('alert').filter({ hasText: /token|credential/i }).waitFor();
    await signIn(page, gateway.tokens.everything ?? '');
    await shown(page, /find/i);
    assert.equal(new URL(page.url()).pathname, '/console/find', 'one is where one wanted to go');
  });
});

/** Waits until something of a page has the focus. @param {import('playwright-core').Page} page @param {string} selector */
const focused = (page, selector) => until(() => page.evaluate((s) => document.activeElement?.matches(s) ?? false, selector), `${selector} has the focus`);

test('the focus is where one goes on: in the field, and on the page that comes after it', async () => {
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await focused(page, '#token');
    await signIn(page, `whg_${'0'.repeat(64)}`);
    await page.getByRole('alert').waitFor();
    await focused(page, '#token');
    await signIn(page, gateway.tokens.everything ?? '');
    await shown(page, /find/i);
    await focused(page, 'h1');
    await page.getByRole('button', { name: /sign out/i }).click();
    await focused(page, '#token');
  });
});

test('who signs in while the gateway is away is told, and is let in when it is back', async () => {
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await forms(page).waitFor();
    await gateway.end('SIGKILL');
    try {
      await signIn(page, gateway.tokens.everything ?? '');
      await page.getByRole('alert').filter({ hasText: /no answer.*tries again/is }).waitFor();
      await focused(page, 'h1');
    } finally {
      await gateway.serve();
    }
    await shown(page, /find/i);
    await focused(page, 'h1');
  });
});

test('a token is kept in the tab alone, and signing out forgets it', async () => {
  const token = gateway.tokens.everything ?? '';
  await onPage({ gateway, path: '/console/', token }, async (page) => {
    /** @type {string[]} */
    const urls = [];
    page.on('request', (request) => urls.push(request.url()));
    await shown(page, /overview/i);
    await page.reload();
    await shown(page, /overview/i);
    assert.ok(!page.url().includes('whg_'));
    assert.deepEqual(urls.filter((url) => url.includes('whg_')), []);
    assert.deepEqual(await page.evaluate(() => ({ local: JSON.stringify(localStorage).includes('whg_'), cookie: document.cookie, dom: document.documentElement.outerHTML.includes('whg_') })), { local: false, cookie: '', dom: false });
    assert.deepEqual(await page.context().cookies(), []);
    await page.getByRole('button', { name: /sign out/i }).click();
    await forms(page).waitFor();
    assert.ok(!(await page.evaluate(() => JSON.stringify(sessionStorage))).includes('whg_'));
    await page.reload();
    await forms(page).waitFor();
  });
});

test('what is not granted is explained, not blank', async () => {
  const mayNot = { operator: ['/console/live', '/console/find', '/console/sessions', '/console/subscriptions'], reader: ['/console/refused', '/console/streams', '/console/', '/console/subscriptions/billing'] };
  for (const [grant, paths] of Object.entries(mayNot)) {
    await onPage({ gateway, path: '/console/live', token: gateway.tokens[grant] }, async (page) => {
      await page.getByRole('navigation').first().waitFor();
      for (const path of paths) {
        await page.goto(gateway.origin + path);
        await page.locator('main').getByText(/^It needs a grant (with operator: true|to read events|of subscriptions|of this subscription)\. You are signed in as \w+\. Ask /).waitFor();
        await accessible(page);
      }
    });
  }
});

test('a reader sees its clients, and no others', async () => {
  await onPage({ gateway, path: '/console/find', token: gateway.tokens.reader }, async (page) => {
    await shown(page, /find/i);
    await page.getByText('7000000001').first().waitFor();
    assert.ok(!(await page.content()).includes('globex'));
    assert.ok(!(await page.content()).includes('vezgo-user-1'));
  });
});

test('what one user found is not there for who signs in after them', async () => {
  await onPage({ gateway, path: '/console/find', token: gateway.tokens.everything }, async (page) => {
    await shown(page, /find/i);
    await page.getByText('globex').first().waitFor();
    await page.locator('main [data-row]').filter({ hasText: '7000000001' }).first().getByRole('link').click();
    await page.waitForURL(/\/events\//);
    await page.getByRole('button', { name: /sign out/i }).click();
    await signIn(page, gateway.tokens.reader ?? '');
    await drawn(page);
    await page.goBack();
    await shown(page, /find/i);
    await page.getByText('7000000001').first().waitFor();
    assert.ok(!(await page.content()).includes('globex'));
  });
});

test('what is masked is nowhere, and is shown as masked', async () => {
  const secrets = ['7000000001', '202021', '202022', 'Checking', '1250.5', '6000000001', 'vezgo-user-1', 'user-42'];
  const paths = Object.keys(await all(gateway)).filter((path) => !/streams|refused/.test(path) && path !== '/console/');
  await onPage({ gateway, path: '/console/find', token: gateway.tokens.masked }, async (page) => {
    /** @type {Promise<string>[]} */
    const answers = [];
    page.on('response', (answer) => { if (new URL(answer.url()).pathname.startsWith('/v1/') && !answer.url().includes(':subscribe')) answers.push(answer.text().catch(() => '')); });
    await shown(page, /find/i);
    for (const path of paths) {
      await page.goto(gateway.origin + path);
      await drawn(page);
      if (path.includes('/events/')) await page.locator('main').getByText(/masked|hidden/i).first().waitFor();
      const text = await page.content();
      for (const secret of secrets) assert.ok(!text.includes(secret), `${path} shows ${secret}`);
    }
    assert.ok(answers.length > 3);
    for (const answer of await Promise.all(answers)) for (const secret of secrets) assert.ok(!answer.includes(secret), `an answer has ${secret}`);
  });
});

test('without actions nothing can be changed, and it says how to switch them on', async () => {
  await onPage({ gateway, path: '/console/subscriptions/billing', token: gateway.tokens.everything }, async (page) => {
    await shown(page, /billing/i);
    await page.getByText('console.actions').first().waitFor();
    const buttons = page.locator('main').getByRole('button', { name: /replay|discard|seek|move/i });
    for (const button of await buttons.all()) assert.equal(await button.isEnabled(), false);
  });
});
