// The gateway asks for a token in the middle of what is done: that it expired, or was revoked.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { onPage, signIn, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

/** @typedef {import('playwright-core').Page} Page */

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  const everything = { operator: true, filters: [{}], subscriptions: [{ prefix: '', manage: true }] };
  gateway = await Gateway.start({ actions: true, grants: { everything, old: everything } });
  gateway.token = gateway.tokens.everything;
});
after(() => gateway?.stop());

/** The gateway no longer takes the token that a page has. */
async function revoke() {
  await gateway.end('SIGTERM');
  gateway.tokens.old = `whg_${randomBytes(32).toString('hex')}`;
  await gateway.serve();
}

/** Opens a subscription with a token that will be revoked. @param {string} name @param {(page: Page) => Promise<void>} look */
const onSubscription = (name, look) => onPage({ gateway, path: `/console/subscriptions/${name}`, token: gateway.tokens.old, refused: /./ }, async (page) => {
  await shown(page, new RegExp(name));
  await look(page);
});

/** It is said where the token is asked for, and on the page that comes after it. @param {Page} page @param {RegExp} what */
async function told(page, what) {
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  await page.getByRole('status').getByText(what).waitFor();
  await signIn(page, `whg_${'1'.repeat(64)}`);
  await page.getByRole('alert').waitFor();
  await page.getByRole('status').getByText(what).waitFor();
  await signIn(page, gateway.tokens.everything ?? '');
  await page.locator('main').getByRole('heading', { level: 1 }).waitFor();
  await page.locator('main').getByRole('status').getByText(what).waitFor();
}

/** @param {Page} page @param {'Replay' | 'Discard'} action */
async function beginAll(page, action) {
  await page.locator('main').getByRole('button', { name: `${action} all` }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox').fill(action.toLowerCase());
  await dialog.getByRole('button', { name: `${action} all` }).click();
}

/** @param {string} name */
const parked = async (name) => Number((await gateway.call('GET', `/v1/subscriptions/${name}`)).subscription.status.parkedEvents ?? 0);

test('between two portions: how many were done is said, and that the rest was not', async () => {
  await seed.parked(gateway, 'portions', 250);
  await onSubscription('portions', async (page) => {
    let portions = 0;
    await page.route('**/parkedEvents:discard', async (route) => {
      if (++portions === 2) await revoke();
      await route.continue();
    });
    await beginAll(page, 'Discard');
    await told(page, /asked for a token before all was done\. 100 events were discarded\. The rest was not\. What is still parked can be discarded once you are signed in/);
    assert.equal(await parked('portions'), 150);
    assert.equal(portions, 2);
    // It is told until the page is left.
    await page.getByRole('link', { name: 'Subscriptions' }).first().click();
    await page.getByRole('link', { name: 'portions', exact: true }).click();
    await shown(page, /portions/);
    assert.equal(await page.getByText('100 events were discarded').count(), 0);
  });
});

test('at the first portion: nothing was done', async () => {
  await seed.parked(gateway, 'first', 3);
  await onSubscription('first', async (page) => {
    await page.route('**/parkedEvents:replay', async (route) => {
      await revoke();
      await route.continue();
    });
    await beginAll(page, 'Replay');
    await told(page, /0 events were replayed\. The rest was not\./);
    assert.equal(await parked('first'), 3);
  });
});

test('while a portion is under way: what became of it is said when it is known', async () => {
  await seed.parked(gateway, 'under-way', 3);
  await onSubscription('under-way', async (page) => {
    /** @type {() => void} */
    let release = () => {};
    const held = new Promise((resolve) => { release = () => resolve(undefined); });
    await page.route('**/parkedEvents:discard', async (route) => {
      const answer = await route.fetch();
      await revoke();
      await held;
      await route.fulfill({ response: answer });
    });
    await beginAll(page, 'Discard');
    await page.getByRole('button', { name: 'Sign in' }).waitFor(); // the page behind has asked meanwhile
    release();
    await told(page, /: 3 events were discarded\.$|^3 events were discarded\.$/);
    assert.equal(await parked('under-way'), 0);
  });
});

test('a move: it was not moved', async () => {
  await gateway.call('POST', '/v1/subscriptions', { name: 'ledger', start: { position: 'START_POSITION_LATEST' } });
  const cursor = async () => (await gateway.call('GET', '/v1/subscriptions/ledger')).subscription.status.cursor;
  const before = await cursor();
  await onSubscription('ledger', async (page) => {
    await page.locator('main').getByRole('button', { name: /move/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    const move = dialog.getByRole('button', { name: /^move/i });
    await until(() => move.isEnabled(), 'it can be moved');
    await page.route('**/ledger:seek', async (route) => {
      await revoke();
      await route.continue();
    });
    await move.click();
    await told(page, /It was not moved: move it once you are signed in\./);
    assert.equal(await cursor(), before);
  });
});

test('a look at a move, after one that had no answer: whether it was moved is not certain', async () => {
  await gateway.call('POST', '/v1/subscriptions', { name: 'unsure', start: { position: 'START_POSITION_LATEST' } });
  await onSubscription('unsure', async (page) => {
    await page.locator('main').getByRole('button', { name: /move/i }).click();
    const dialog = page.getByRole('dialog');
    const look = dialog.getByRole('button', { name: 'Preview' });
    await look.click();
    const move = dialog.getByRole('button', { name: /^move/i });
    await until(() => move.isEnabled(), 'it can be moved');
    await page.route('**/unsure:seek', (route) => route.abort(), { times: 1 });
    await move.click();
    await dialog.getByText('Whether it was moved is not certain.').waitFor();
    await page.route('**/unsure:seek', async (route) => {
      await revoke();
      await page.getByRole('button', { name: 'Sign in' }).waitFor(); // the page behind has asked meanwhile
      await route.continue();
    }, { times: 1 });
    await look.click();
    await told(page, /Whether it was moved is not certain: its page says where it stands\./);
  });
});

test('after signing out nothing is told of what was done before', async () => {
  await seed.parked(gateway, 'signed-out', 3);
  await onPage({ gateway, path: '/console/subscriptions', token: gateway.tokens.everything ?? '', refused: /./ }, async (page) => {
    await page.getByRole('link', { name: 'signed-out', exact: true }).click();
    await shown(page, /signed-out/);
    /** @type {() => void} */
    let release = () => {};
    const held = new Promise((resolve) => { release = () => resolve(undefined); });
    /** @type {unknown} */
    let under;
    await page.route('**/parkedEvents:discard', async (route) => {
      under = route;
      await held;
      await route.continue();
    });
    await beginAll(page, 'Discard');
    await until(async () => under, 'a portion is under way');
    await page.goBack();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    const answered = page.waitForResponse('**/parkedEvents:discard');
    release();
    await (await answered).finished();
    await signIn(page, gateway.tokens.everything ?? '');
    await page.getByRole('link', { name: 'signed-out', exact: true }).click();
    await shown(page, /signed-out/);
    assert.equal(await page.getByText('were discarded').count(), 0);
  });
});

test('who has signed in again stays so if an older token is refused afterwards', async () => {
  await seed.parked(gateway, 'late', 3);
  await onSubscription('late', async (page) => {
    /** @type {() => void} */
    let release = () => {};
    const held = new Promise((resolve) => { release = () => resolve(undefined); });
    await page.route('**/parkedEvents:discard', async (route) => {
      await revoke();
      await held;
      await route.continue();
    });
    await beginAll(page, 'Discard');
    await signIn(page, gateway.tokens.everything ?? ''); // the page behind has asked meanwhile
    await shown(page, /late/);
    release();
    await page.locator('main').getByRole('status').getByText('0 events were discarded. The rest was not.').waitFor({ timeout: 4000 });
    assert.equal(await page.getByRole('button', { name: 'Sign in' }).count(), 0);
    assert.equal(await parked('late'), 3);
  });
});
