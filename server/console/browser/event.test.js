// Event: everything that is known of one.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway, sign } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start();
  await seed.events(gateway);
  await seed.parked(gateway, 'billing', 1);
  await gateway.call('POST', '/v1/subscriptions', { name: 'ledger', start: { position: 'START_POSITION_EARLIEST' } });
  await gateway.call('POST', '/v1/subscriptions', { name: 'vezgo-only', filters: [{ providers: ['PROVIDER_VEZGO'] }] });
});
after(() => gateway?.stop());

/** @param {object} filter @param {(page: import('playwright-core').Page, event: any) => Promise<void>} test */
async function onEvent(filter, test) {
  const { id } = await seed.newest(gateway, filter);
  const { event } = await gateway.call('GET', `/v1/events/${id}?view=EVENT_VIEW_RAW`);
  await onPage({ gateway, path: `/console/events/${id}` }, async (page) => {
    await shown(page, new RegExp(event.typeName));
    await test(page, event);
  });
}

/** Opens what a tab or a summary hides. @param {import('playwright-core').Page} page @param {RegExp} name */
async function openPart(page, name) {
  const tab = page.getByRole('tab', { name });
  if (await tab.count() > 0) await tab.first().click();
}

test('its verdict, its key and its source', async () => {
  await onEvent({ providerEventIds: ['drift'] }, async (page, event) => {
    const main = page.locator('main');
    await main.getByText(/verified/i).first().waitFor();
    await main.getByText('2026-11', { exact: true }).first().waitFor();
    await main.getByText(event.verification.sourceAddress).first().waitFor();
    await main.getByText(event.id).first().waitFor();
    await main.getByText(/hmac/i).first().waitFor();
  });
});

test('its payload is a tree', async () => {
  await onEvent({ providerEventIds: ['drift'] }, async (page) => {
    await openPart(page, /payload|typed/i);
    const tree = page.getByRole('tree').first();
    await tree.getByText('institutionId').first().waitFor();
    await tree.getByText(/100001/).first().waitFor();
    await tree.getByText('accounts', { exact: true }).first().waitFor();
    // The keys of a tree.
    await tree.getByRole('treeitem').first().focus();
    const focused = () => page.evaluate(() => [...document.querySelectorAll('[role="treeitem"]')].indexOf(/** @type {Element} */ (document.activeElement)));
    await page.keyboard.press('ArrowDown');
    assert.equal(await focused(), 1);
    await page.keyboard.press('ArrowUp');
    assert.equal(await focused(), 0);
    const accounts = tree.getByRole('treeitem', { expanded: true }).filter({ hasText: 'accounts' }).first();
    const all = await tree.getByRole('treeitem').count();
    await accounts.focus();
    const at = await focused();
    await page.keyboard.press('ArrowRight');
    assert.equal(await focused(), at + 1, 'to its first child');
    await page.keyboard.press('ArrowLeft');
    assert.equal(await focused(), at, 'to its parent');
    await page.keyboard.press('ArrowLeft');
    await until(async () => await tree.getByRole('treeitem').count() < all, 'it is closed');
    await page.keyboard.press('Enter');
    await until(async () => await tree.getByRole('treeitem').count() === all, 'it is open');
  });
});

test('its bytes, as text and in hex, and its headers', async () => {
  await onEvent({ providerEventIds: ['drift'] }, async (page, event) => {
    const raw = Buffer.from(event.rawBody, 'base64');
    await openPart(page, /raw|bytes|body/i);
    const main = page.locator('main');
    await until(async () => (await main.innerText()).includes(raw.toString().slice(0, 60)), 'the text is there, byte for byte');
    await main.getByRole('radio', { name: /hex/i }).or(main.getByRole('tab', { name: /hex/i })).or(main.getByRole('button', { name: /hex/i })).first().click();
    const hex = [...raw.subarray(0, 8)].map((b) => b.toString(16).padStart(2, '0'));
    await until(async () => (await main.innerText()).replaceAll(/\s+/g, ' ').includes(hex.join(' ')), 'the hex is there');
    await openPart(page, /headers/i);
    await main.getByText(/x-finicity-signature/i).first().waitFor();
    await main.getByText(sign(raw.toString())).first().waitFor();
  });
});

test('what drifted is named by its path', async () => {
  await onEvent({ providerEventIds: ['drift'] }, async (page, event) => {
    assert.match(event.decodeError, /payload\.rewards/);
    await page.locator('main').getByText(/payload\.rewards/).first().waitFor();
  });
});

test('a conflict is named', async () => {
  await onEvent({ providerEventIds: ['conflict'] }, async (page, event) => {
    assert.equal(event.eventIdConflict, true);
    const main = page.locator('main');
    await main.getByText(/^≠ Conflict$/).waitFor();
    await main.getByText(/the same verdict and another body was stored before/).waitFor();
    await main.getByRole('link', { name: /all of this id/i }).click();
    await shown(page, /find/i);
    await until(async () => await main.locator('[data-row]').count() === 2, 'both are listed');
  });
});

test('each subscription says where it stands with it', async () => {
  await onEvent({ subjects: ['parked-of-billing'] }, async (page) => {
    for (const [name, state] of /** @type {const} */ ([['billing', /parked/i], ['ledger', /pending|waits/i], ['vezgo-only', /not selected|filter/i]])) {
      await page.locator('main').locator('tr, li, dd, div').filter({ hasText: name }).filter({ hasText: state }).last().waitFor();
    }
  });
});

test('the delivery is copied as a curl that delivers it again', async () => {
  await onEvent({ providerEventIds: ['drift'] }, async (page, event) => {
    await page.getByRole('button', { name: /curl/i }).first().click();
    const command = await until(async () => page.evaluate(() => navigator.clipboard.readText()), 'it is in the clipboard');
    assert.match(command, /^curl /);
    assert.match(command, /\/v1\/webhooks\/finicity\/acme/);
    assert.ok(!command.includes('a partner secret'));
    assert.ok(command.includes(sign(Buffer.from(event.rawBody, 'base64').toString())), 'it is signed as it was');
  });
});

test('the curl of a body with many bytes a character is taken by a shell', async () => {
  await gateway.finicity({ eventType: 'done', eventId: 'wide', payload: { text: '€'.repeat(60_000) } });
  await onEvent({ providerEventIds: ['wide'] }, async (page, event) => {
    await page.getByRole('button', { name: /curl/i }).first().click();
    const command = await until(async () => page.evaluate(() => navigator.clipboard.readText()), 'it is in the clipboard');
    const file = join(gateway.folder, 'again.sh');
    await writeFile(file, `${command.replace('http://localhost:8080', `http://${gateway.webhooks}`)} -s -w '%{http_code}'`);
    const { stdout } = await promisify(execFile)('bash', [file]);
    assert.match(stdout, /200$/, 'it is taken, so its signature fits');
    assert.equal(event.verification.verdict, 'VERIFICATION_VERDICT_VERIFIED');
  });
});

test('how to resend it is a command', async () => {
  await onEvent({ providerEventIds: ['drift'] }, async (page, event) => {
    const main = page.locator('main');
    await until(async () => (await main.innerText()).includes(`events resend ${event.id}`), 'the command is there');
  });
});

test('what is no id says what one looks like, and leads to Find', async () => {
  const { id } = await seed.newest(gateway, {});
  for (const wrong of ['xx', id.slice(0, -1), `${id.slice(0, -1)}${id.endsWith('A') ? 'B' : 'A'}`]) {
    await onPage({ gateway, path: `/console/events/${wrong}` }, async (page) => {
      await page.getByRole('alert').getByText('it is not the id of an event').waitFor();
      await page.getByText(`is ${id.length} letters, digits, - and _, the first of them an ${id[0]}.`).waitFor();
      assert.equal(await page.getByRole('button', { name: 'Try again' }).count(), 0);
      await page.locator('main').getByRole('link', { name: 'Find' }).click();
      await shown(page, /find/i);
    });
  }
});

test('an event that cannot be asked for is asked for again', async () => {
  const { id } = await seed.newest(gateway, { providerEventIds: ['drift'] });
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await shown(page, /find/i);
    await page.route(`**/v1/events/${id}?*`, (route) => route.abort(), { times: 1 });
    await page.goto(`${gateway.origin}/console/events/${id}`);
    await page.getByRole('button', { name: 'Try again' }).click();
    await shown(page, /added/);
  });
});
