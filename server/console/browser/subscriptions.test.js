// Subscriptions: where they stand, and moving them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start({ actions: true });
  await seed.events(gateway);
  await seed.parked(gateway, 'billing', 5);
  await gateway.call('POST', '/v1/subscriptions', { name: 'ledger', start: { position: 'START_POSITION_EARLIEST' } });
  await seed.parked(gateway, 'masses', 250);
});
after(() => gateway?.stop());

/** @param {string} name @returns {Promise<any>} */
const status = async (name) => (await gateway.call('GET', `/v1/subscriptions/${name}`)).subscription.status;

test('the list says how far each is behind, and leads to it', async () => {
  const { lagEvents } = await status('ledger');
  assert.ok(Number(lagEvents) > 0);
  await onPage({ gateway, path: '/console/subscriptions' }, async (page) => {
    await shown(page, /subscriptions/i);
    const row = page.getByRole('row').filter({ hasText: 'ledger' });
    await row.getByText(lagEvents, { exact: true }).first().waitFor();
    await row.getByRole('link', { name: 'ledger' }).click();
    await shown(page, /ledger/);
  });
});

test('a seek shows what would be delivered, and then moves it', async () => {
  await gateway.call('POST', '/v1/subscriptions/ledger:seek', { start: { position: 'START_POSITION_LATEST' } });
  const { cursor, headCursor } = await status('ledger');
  assert.equal(cursor, headCursor);
  const { preview } = await gateway.call('POST', '/v1/subscriptions/ledger:seek', { start: { position: 'START_POSITION_EARLIEST' }, validateOnly: true });
  await onPage({ gateway, path: '/console/subscriptions/ledger' }, async (page) => {
    await shown(page, /ledger/);
    await page.locator('main').getByRole('button', { name: /seek|move/i }).first().click();
    const dialog = page.getByRole('dialog');
    const where = dialog.getByRole('radio', { name: /earliest|beginning/i });
    if (await where.count() > 0) await where.first().check();
    else await dialog.getByRole('combobox').first().selectOption(/** @type {any} */ ({ label: (await dialog.getByRole('option', { name: /earliest|beginning/i }).first().textContent())?.trim() }));
    const previews = dialog.getByRole('button', { name: /preview|show/i });
    if (await previews.count() > 0) await previews.first().click();
    await dialog.getByText(new RegExp(`\\b${preview.matchingEvents}\\b`)).first().waitFor();
    assert.equal((await status('ledger')).cursor, cursor, 'nothing has moved yet');
    const typed = dialog.getByRole('textbox', { name: /type|confirm/i });
    if (await typed.count() > 0) await typed.first().fill('ledger');
    await dialog.getByRole('button', { name: /^(seek|move)/i }).last().click();
    await dialog.waitFor({ state: 'hidden' });
    await until(async () => (await status('ledger')).cursor !== cursor, 'it has moved');
  });
});

test('a dialog that is closed does nothing, and gives the focus back', async () => {
  const { cursor } = await status('ledger');
  await onPage({ gateway, path: '/console/subscriptions/ledger' }, async (page) => {
    await shown(page, /ledger/);
    const button = page.locator('main').getByRole('button', { name: /seek|move/i }).first();
    await button.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    assert.ok(await page.getByRole('dialog').evaluate((dialog) => dialog.contains(document.activeElement)), 'the focus is in the dialog');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    assert.match(await page.evaluate(() => document.activeElement?.textContent ?? ''), /seek|move/i);
  });
  assert.equal((await status('ledger')).cursor, cursor);
});

test('a preview is of the place that is chosen', async () => {
  await onPage({ gateway, path: '/console/subscriptions/ledger' }, async (page) => {
    await shown(page, /ledger/);
    /** @type {import('playwright-core').Route[]} */
    const asked = [];
    await page.route('**/ledger:seek', (route) => { asked.push(route); });
    await page.locator('main').getByRole('button', { name: /move/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('radio', { name: /beginning/i }).check();
    await dialog.getByRole('button', { name: /preview/i }).click();
    const route = await until(async () => asked[0], 'it is asked for');
    assert.equal(await dialog.getByRole('radio', { name: /newest/i }).isEnabled(), false, 'no other place can be chosen meanwhile');
    await route.continue();
    const move = dialog.getByRole('button', { name: /^move/i });
    await until(() => move.isEnabled(), 'it can be moved');
    await dialog.getByRole('radio', { name: /newest/i }).check();
    assert.equal(await move.isEnabled(), false, 'the other place was not looked at');
  });
});

const count = async () => Number((await status('billing')).parkedEvents ?? 0);

test('parked events say why; one is replayed, some are discarded, and all', async () => {
  await onPage({ gateway, path: '/console/subscriptions/billing' }, async (page) => {
    await shown(page, /billing/);
    const main = page.locator('main');
    await main.getByText('the ledger has no account 6000000001').first().waitFor();
    await main.getByText(/rejected/i).first().waitFor();
    // A worker had each parked at once: that attempt failed.
    assert.deepEqual(await main.getByRole('row').nth(1).getByRole('cell').allInnerTexts().then((texts) => texts.slice(4, 5)), ['1']);
    await main.getByRole('columnheader', { name: 'Failed attempts' }).waitFor();
    const rows = main.getByRole('row').filter({ has: page.getByRole('checkbox') }).filter({ has: page.getByRole('link') });
    await until(async () => await rows.count() === 5, 'five are parked');

    // One.
    await rows.first().getByRole('checkbox').check();
    await main.getByRole('button', { name: /replay/i }).first().click();
    await confirm(page, /replay/i, '1');
    await until(async () => await count() === 4, 'one was replayed');
    await until(async () => await rows.count() === 4, 'the page shows it');

    // Some.
    await rows.nth(0).getByRole('checkbox').check();
    await rows.nth(1).getByRole('checkbox').check();
    await main.getByRole('button', { name: /discard/i }).first().click();
    await confirm(page, /discard/i, '2');
    await until(async () => await count() === 2, 'two were discarded');
    await until(async () => await rows.count() === 2, 'the page shows it');

    // All.
    await main.getByRole('button', { name: /discard all/i }).first().click();
    await confirm(page, /discard/i, '2');
    await until(async () => await count() === 0, 'all were discarded');
  });
});

test('what is done to many shows how far it is, and can be cancelled', async () => {
  await onPage({ gateway, path: '/console/subscriptions/masses' }, async (page) => {
    await shown(page, /masses/);
    // Each portion waits until the test lets it pass.
    /** @type {(() => void)[]} */
    const portions = [];
    await page.route('**/parkedEvents:replay', async (route) => {
      await new Promise((resolve) => portions.push(() => resolve(undefined)));
      await route.continue();
    });
    await page.locator('main').getByRole('button', { name: /replay all/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').fill('replay');
    await dialog.getByRole('button', { name: /^replay/i }).click();
    (await until(async () => portions[0], 'the first portion is asked for'))();
    await until(async () => portions[1], 'the second is asked for');
    const far = dialog.getByRole('progressbar');
    await far.waitFor();
    assert.equal(await far.evaluate((bar) => `${/** @type {HTMLProgressElement} */ (bar).value} of ${/** @type {HTMLProgressElement} */ (bar).max}`), '100 of 250');
    await dialog.getByRole('button', { name: /cancel/i }).click();
    portions[1]?.();
    await dialog.waitFor({ state: 'hidden' });
    await page.getByText(/200/).and(page.locator('main *')).first().waitFor();
    assert.equal(portions.length, 2);
    await until(async () => (await status('masses')).parkedEvents === '50', 'the rest is still parked');
  });
});

test('what went wrong in the middle is tried again from there', async () => {
  await seed.parked(gateway, 'broken', 250);
  await onPage({ gateway, path: '/console/subscriptions/broken', refused: /./ }, async (page) => {
    await shown(page, /broken/);
    /** @type {string[][]} */
    const portions = [];
    await page.route('**/parkedEvents:discard', async (route) => {
      portions.push(route.request().postDataJSON().eventIds);
      if (portions.length === 2) await route.fulfill({ status: 503, json: { error: { code: 503, status: 'UNAVAILABLE', reason: 'LOG_UNAVAILABLE', message: 'the event log is away' } } });
      else await route.continue();
    });
    await page.locator('main').getByRole('button', { name: /discard all/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').fill('discard');
    await dialog.getByRole('button', { name: /^discard/i }).click();
    await dialog.getByRole('alert').filter({ hasText: 'the event log is away' }).waitFor();
    await dialog.getByText('100 events were discarded.').waitFor();
    await dialog.getByRole('button', { name: /^discard/i }).click();
    await page.locator('main').getByText('250 events were discarded.').waitFor();
    assert.deepEqual(portions.map((p) => p.length), [100, 100, 100, 50]);
    assert.deepEqual(portions[2], portions[1]);
  });
});

test('Escape does not hide what is still done, nor what went wrong', async () => {
  await onPage({ gateway, path: '/console/subscriptions/masses' }, async (page) => {
    await shown(page, /masses/);
    /** @type {import('playwright-core').Route[]} */
    const portions = [];
    await page.route('**/parkedEvents:discard', (route) => { portions.push(route); });
    await page.locator('main').getByRole('button', { name: /discard all/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').fill('discard');
    await dialog.getByRole('button', { name: /^discard/i }).click();
    const route = await until(async () => portions[0], 'the first portion is asked for');
    for (let n = 0; n < 3; n++) await page.keyboard.press('Escape');
    assert.ok(await dialog.isVisible(), 'it can still be cancelled');
    await route.abort();
    await dialog.getByRole('alert').waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    await page.locator('main').getByRole('button', { name: /discard all/i }).click();
    await dialog.waitFor();
  });
});

test('what is chosen stays, also for the keyboard, while more is parked', async () => {
  await onPage({ gateway, path: '/console/subscriptions/masses' }, async (page) => {
    await shown(page, /masses/);
    const box = page.locator('main').getByRole('row').nth(3).getByRole('checkbox');
    await box.check();
    await page.evaluate(() => { /** @type {any} */ (window).row = document.activeElement; });
    const { parkedEvents } = await status('masses');
    await page.route('**/v1/subscriptions/masses', async (route) => {
      const answer = await route.fetch();
      const { subscription } = await answer.json();
      subscription.status.parkedEvents = String(Number(parkedEvents) + 1);
      await route.fulfill({ json: { subscription } });
    });
    await page.locator('dl').getByText(String(Number(parkedEvents) + 1), { exact: true }).waitFor();
    await until(async () => page.locator('main').getByRole('row').count().then((n) => n > 3), 'they are there');
    assert.ok(await page.evaluate(() => document.activeElement === /** @type {any} */ (window).row), 'the focus has stayed');
    assert.ok(await box.isChecked());
  });
});

test('after a dialog that did something the focus is in the page', async () => {
  await onPage({ gateway, path: '/console/subscriptions/masses' }, async (page) => {
    await shown(page, /masses/);
    await page.locator('main').getByRole('row').nth(3).getByRole('checkbox').check();
    await page.locator('main').getByRole('button', { name: /replay 1/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: /^replay/i }).click();
    await dialog.waitFor({ state: 'hidden' });
    await page.getByText(/1 event was replayed/i).waitFor();
    await until(() => page.evaluate(() => document.querySelector('main')?.contains(document.activeElement) ?? false), 'the focus is in the page', 2000);
  });
});

/** Confirms, after a look at what is said. @param {import('playwright-core').Page} page @param {RegExp} name @param {string} number */
async function confirm(page, name, number) {
  const dialog = page.getByRole('dialog');
  await dialog.getByText(new RegExp(`\\b${number}\\b`)).first().waitFor();
  const action = dialog.getByRole('button', { name }).last();
  const typed = dialog.getByRole('textbox');
  if (await typed.count() > 0) {
    assert.equal(await action.isEnabled(), false, 'nothing is done before it is typed');
    const word = /type\s+[“"'`]?([\w.-]+)/i.exec(await dialog.innerText())?.[1] ?? '';
    await typed.first().fill(word);
  } else {
    assert.doesNotMatch(name.source, /discard/, 'to discard is confirmed by a word');
  }
  await action.click();
  await dialog.waitFor({ state: 'hidden' });
}
