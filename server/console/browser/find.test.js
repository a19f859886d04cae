// Find: an event by what is known of it.
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
  gateway = await Gateway.start();
  await seed.events(gateway);
  for (let n = 0; n < 500; n++) await gateway.finicity({ customerId: 'of-many', eventType: 'mfa', eventId: `many-${String(n).padStart(4, '0')}` });
});
after(() => gateway?.stop());

/** @param {import('playwright-core').Page} page @param {RegExp} name @param {string} value */
async function enter(page, name, value) {
  const field = page.locator('main').getByLabel(name).first();
  if (await field.evaluate((e) => e.tagName) === 'SELECT') await field.selectOption(value);
  else await field.fill(value);
  await page.keyboard.press('Enter');
}

/** The ids of the events that are listed, from the links to them. @param {import('playwright-core').Page} page */
const listed = (page) => page.locator('main a[href*="/console/events/"]').evaluateAll((links) => [...new Set(links.map((a) => decodeURIComponent((a.getAttribute('href') ?? '').split('/events/')[1] ?? '')))]);

/** @param {object} filter */
const ids = async (filter) => (await gateway.call('POST', '/v1/events:list', { filters: [filter], newestFirst: true, pageSize: 1000, view: 'EVENT_VIEW_METADATA' })).events.map((/** @type {any} */ e) => e.id);

/** @type {[string, RegExp, string, object][]} */
const fields = [
  ['a client', /^client/i, 'globex', { clientIds: ['globex'] }],
  ['a subject', /subject|customer/i, '7000000001', { subjects: ['7000000001'] }],
  ["the provider's id", /provider.*id/i, 'drift', { providerEventIds: ['drift'] }],
  ['a type', /type/i, 'EVENT_TYPE_VEZGO_SYNC_ERROR', { eventTypes: ['EVENT_TYPE_VEZGO_SYNC_ERROR'] }],
];
for (const [what, label, value, filter] of fields) {
  test(`by ${what}, newest first, and the URL is the question`, async () => {
    const want = await ids(filter);
    await onPage({ gateway, path: '/console/find' }, async (page) => {
      await shown(page, /find/i);
      await enter(page, label, value);
      await until(async () => JSON.stringify(await listed(page)) === JSON.stringify(want), `${want.length} events are listed`).catch(async () => assert.deepEqual(await listed(page), want));
      await page.reload();
      await until(async () => JSON.stringify(await listed(page)) === JSON.stringify(want), 'they are after a reload, too');
    });
  });
}

test("by the gateway's id, which leads to the event", async () => {
  const { id } = await seed.newest(gateway, { providerEventIds: ['drift'] });
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await shown(page, /find/i);
    await enter(page, /^(event )?id\b|gateway.*id/i, id);
    await page.locator(`main a[href$="/console/events/${id}"]`).first().or(page.getByRole('heading', { level: 1, name: /added/ })).waitFor();
  });
});

test('by a time', async () => {
  const { receiveTime } = await seed.newest(gateway, { providerEventIds: ['drift'] });
  const day = receiveTime.slice(0, 10);
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await shown(page, /find/i);
    await enter(page, /until|before|^to/i, `${day}T00:00`);
    await page.locator('main').getByText(/no event/i).first().waitFor();
  });
});

test('a list of many is drawn in part, and has all', async () => {
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await shown(page, /find/i);
    await enter(page, /subject|customer/i, 'of-many');
    await until(async () => (await listed(page)).length > 5, 'they are listed');
    const drawn = () => page.locator('main a[href*="/console/events/"]').count();
    assert.ok(await drawn() < 100, 'not all are drawn');
    const oldest = (await ids({ subjects: ['of-many'] })).at(-1);
    await until(async () => {
      await page.getByRole('rowgroup').last().evaluate((rows) => { rows.scrollTop = rows.scrollHeight; });
      return (await listed(page)).includes(oldest);
    }, 'the oldest is reached', 20_000);
    assert.ok(await drawn() < 100, 'not all are drawn at the end, either');
  });
});

test('Back from an event leads to the row that was left, which has the focus', async () => {
  await onPage({ gateway, path: '/console/find?subject=of-many' }, async (page) => {
    await shown(page, /find/i);
    const rows = page.getByRole('rowgroup').last();
    await until(async () => {
      await rows.evaluate((box) => { box.scrollTop = 350 * (/** @type {HTMLElement} */ (box.querySelector('[data-row]'))?.offsetHeight ?? 0); });
      return await page.locator('[aria-rowindex="352"]').count() > 0;
    }, 'the 350th is there');
    const link = page.locator('[aria-rowindex="352"] a[data-open]');
    const href = await link.getAttribute('href');
    const place = () => page.evaluate(() => {
      const e = document.activeElement;
      return { href: e?.getAttribute('href'), row: e?.closest('[data-row]')?.getAttribute('aria-rowindex'), top: Math.round(e?.closest('[data-row]')?.getBoundingClientRect().top ?? 0) };
    });
    await link.focus();
    const was = await place();
    let asked = 0;
    page.on('request', (request) => { if (request.url().endsWith('/v1/events:list')) asked++; });
    await page.keyboard.press('Enter');
    await shown(page, /mfa/);
    await page.goBack();
    await until(async () => (await place()).href === href, 'the row has the focus');
    assert.deepEqual(await place(), was, 'it is where it was');
    assert.equal(asked, 0, 'nothing was searched for anew');
    // A page that was loaded anew has to search.
    await link.click();
    await shown(page, /mfa/);
    await page.reload();
    await shown(page, /mfa/);
    await page.goBack();
    await until(async () => (await place()).href === href, 'the row has the focus after a reload, too');
    assert.deepEqual(await place(), was);
    // Who does not come back begins at the newest.
    await link.click();
    await shown(page, /mfa/);
    await page.getByRole('navigation').first().getByRole('link', { name: 'Find' }).click();
    await shown(page, /find/i);
    await page.locator('[aria-rowindex="2"]').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1');
  });
});

test('times are in UTC, wherever the user is', async () => {
  const { receiveTime } = await seed.newest(gateway, { providerEventIds: ['drift'] });
  const second = (/** @type {number} */ plus) => new Date(Date.parse(receiveTime) + plus * 1000).toISOString().slice(0, 19);
  await onPage({ gateway, path: '/console/find?subject=7000000002' }, async (page) => {
    await shown(page, /find/i);
    await page.getByText(receiveTime.slice(0, 23).replace('T', ' ')).waitFor();
    await enter(page, /^from/i, second(0));
    await until(async () => (await listed(page)).length === 1 && page.url().includes('after='), 'it came in that second');
    await enter(page, /^from/i, second(2));
    await page.locator('main').getByText(/no event/i).first().waitFor();
    await enter(page, /^from/i, '');
    await enter(page, /^until/i, second(2));
    await until(async () => (await listed(page)).length === 1, 'it came before the next one');
  });
});

test('a row says who, what and when, and what is odd, however narrow the window is', async () => {
  for (const path of ['find', 'live']) {
    await onPage({ gateway, path: `/console/${path}?client=acme&providerId=conflict` }, async (page) => {
      const row = page.locator('[data-row]').filter({ hasText: 'Conflict' }).first();
      for (const width of [1280, 1000, 780, 360]) {
        await page.setViewportSize({ width, height: 800 });
        await row.waitFor();
        await until(() => row.evaluate((e) => {
          const { left, right, top, bottom } = e.getBoundingClientRect();
          return [...e.children].filter((cell) => !cell.matches('.c-provider')).every((cell) => {
            const c = cell.getBoundingClientRect();
            return c.width > 0 && c.left >= left && c.right <= right && c.top >= top && c.bottom <= bottom && cell.scrollWidth <= cell.clientWidth;
          });
        }), `every cell of ${path} is seen whole at ${width} px`);
      }
    });
  }
});

test('nothing found says what to do', async () => {
  await onPage({ gateway, path: '/console/find' }, async (page) => {
    await shown(page, /find/i);
    await enter(page, /subject|customer/i, 'nobody-at-all');
    await page.locator('main').getByText(/no event/i).first().waitFor();
  });
});

test('with the keyboard alone: from the search to an event and back', async () => {
  await onPage({ gateway, path: '/console/' }, async (page) => {
    await shown(page, /overview/i); // keys work once its scripts are there
    await page.keyboard.press('/');
    await shown(page, /find/i);
    await until(async () => page.evaluate(() => document.activeElement?.matches('input, select') ?? false), 'a field has the focus');
    await page.keyboard.press('Escape');
    await until(async () => (await listed(page)).length > 2, 'events are listed');
    const [first, second] = await listed(page);
    const focused = () => page.evaluate(() => decodeURIComponent(document.activeElement?.getAttribute('href')?.split('/').at(-1) ?? ''));
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    assert.equal(await focused(), second);
    await page.keyboard.press('k');
    assert.equal(await focused(), first);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/console\/events\//);
    assert.equal(decodeURIComponent(new URL(page.url()).pathname.split('/').at(-1) ?? ''), first);
    await page.keyboard.press('?');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
  });
});
