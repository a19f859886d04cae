// Actions while others act, while the gateway dies, and while the user goes away.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { onPage, until, withBrowser } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

/** @typedef {import('playwright-core').Page} Page */

withBrowser();
/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start({ actions: true });
  await seed.events(gateway);
});
after(() => gateway?.stop());

/** @param {string} name @returns {Promise<any>} */
const status = async (name) => (await gateway.call('GET', `/v1/subscriptions/${name}`)).subscription.status;

/** @param {string} name @returns {Promise<string[]>} */
const parkedIds = async (name) => ((await gateway.call('GET', `/v1/subscriptions/${name}/parkedEvents?view=EVENT_VIEW_METADATA&pageSize=1000`)).parkedEvents ?? []).map((/** @type {any} */ p) => p.event.id);

/** Opens a subscription. @param {string} name @param {(page: Page) => Promise<void>} look @param {RegExp} [refused] */
const onSubscription = (name, look, refused) => onPage({ gateway, path: `/console/subscriptions/${name}`, ...(refused && { refused }) }, async (page) => {
  await shown(page, new RegExp(name));
  await look(page);
});

/** Begins what is done to all. @param {Page} page @param {'Replay' | 'Discard'} action */
async function beginAll(page, action) {
  await page.locator('main').getByRole('button', { name: `${action} all` }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox').fill(action.toLowerCase());
  await dialog.getByRole('button', { name: `${action} all` }).click();
  return dialog;
}

test('all are known portion by portion, each is decided about once, and what is parked meanwhile stays', async () => {
  await seed.parked(gateway, 'again', 250);
  const ids = await parkedIds('again');
  await onSubscription('again', async (page) => {
    /** @type {string[][]} */
    const portions = [];
    /** @type {number[]} */
    const read = [];
    let next = 0;
    page.on('request', (request) => { if (/parkedEvents\?.*pageSize=100\b.*pageToken=/.test(request.url())) next++; });
    await page.route('**/parkedEvents:replay', async (route) => {
      portions.push(route.request().postDataJSON().eventIds);
      read.push(next);
      const answer = await route.fetch();
      // Whatever is delivered is parked again, and so are new events.
      for (let n = 0; n < 2; n++) await gateway.finicity({ customerId: 'parked-of-again', eventType: 'added' });
      await seed.park(gateway, 'again', 2 + (portions.at(-1)?.length ?? 0));
      await route.fulfill({ response: answer });
    });
    await beginAll(page, 'Replay');
    await page.getByText('250 events were replayed.').waitFor();
    assert.deepEqual(portions.flat(), ids, 'each once, in order');
    assert.deepEqual(portions.map((p) => p.length), [100, 100, 50]);
    assert.deepEqual(read, [0, 1, 2], 'what comes next is read when it is its turn');
  });
  await until(async () => (await status('again')).parkedEvents === '256', 'those, and the new ones');
});

test('a gateway that is killed in the middle: what is certain is said, and nothing is repeated by itself', async () => {
  await seed.parked(gateway, 'killed', 250);
  await onSubscription('killed', async (page) => {
    let portions = 0;
    await page.route('**/parkedEvents:discard', async (route) => {
      if (++portions !== 2) { await route.continue(); return; }
      await route.fetch(); // It is done, and nobody hears of it.
      await gateway.end('SIGKILL');
      await route.abort();
    });
    const dialog = await beginAll(page, 'Discard');
    await dialog.getByRole('alert').filter({ hasText: /not certain/i }).waitFor();
    await dialog.getByText('100 events were discarded. Whether 100 more were is not certain: what is still parked was not.').waitFor();
    await gateway.serve();
    await page.getByText('tries again').waitFor({ state: 'detached' }); // The page behind is there again.
    assert.equal(portions, 2, 'nobody has asked for more');
    await dialog.getByRole('button', { name: 'Discard all' }).click();
    await page.locator('main').getByText(/150 events were discarded\. 100 others were no longer parked: .*the call that had no answer was done/).waitFor();
  }, /./);
  assert.deepEqual(await parkedIds('killed'), []);
});

test('who gives up after a call without an answer is told what is not certain', async () => {
  await seed.parked(gateway, 'given-up', 3);
  await onSubscription('given-up', async (page) => {
    await page.route('**/parkedEvents:replay', (route) => route.abort());
    const dialog = await beginAll(page, 'Replay');
    await dialog.getByRole('alert').waitFor();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await page.locator('main').getByRole('status').getByText(/0 events were replayed\. Whether 3 more were is not certain/).waitFor();
  });
});

test('a gateway that is killed while it moves a subscription: it has to be looked at anew', async () => {
  await gateway.call('POST', '/v1/subscriptions', { name: 'moved', start: { position: 'START_POSITION_LATEST' } });
  await onSubscription('moved', async (page) => {
    await page.locator('main').getByRole('button', { name: /move/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('radio', { name: /beginning/i }).check();
    await dialog.getByRole('button', { name: 'Preview' }).click();
    const move = dialog.getByRole('button', { name: /^move/i });
    await until(() => move.isEnabled(), 'it can be moved');
    let asked = 0;
    await page.route('**/moved:seek', async (route) => {
      asked++;
      await gateway.end('SIGKILL');
      await route.continue();
    });
    await move.click();
    await dialog.getByRole('alert').filter({ hasText: /not certain/i }).waitFor();
    assert.equal(await move.isEnabled(), false, 'what was looked at does not hold any more');
    await gateway.serve();
    await page.getByText('tries again').waitFor({ state: 'detached' });
    assert.equal(asked, 1, 'it is not moved by itself');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await page.locator('main').getByText(/whether it was moved is not certain/i).waitFor();
  }, /./);
});

test('two operators decide about the same events: each is told what was theirs', async () => {
  await seed.parked(gateway, 'shared', 3);
  await onSubscription('shared', async (one) => {
    await onSubscription('shared', async (other) => {
      for (const page of [one, other]) {
        await page.getByRole('checkbox', { name: /all/i }).check();
        await page.locator('main').getByRole('button', { name: 'Replay 3' }).click();
      }
      await other.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
      await other.locator('main').getByRole('row').nth(2).getByRole('checkbox').uncheck();
      await other.locator('main').getByRole('button', { name: 'Discard 2' }).click();
      await other.getByRole('dialog').getByRole('textbox').fill('discard');
      await other.getByRole('dialog').getByRole('button', { name: 'Discard 2' }).click();
      await other.getByText('2 events were discarded.').waitFor();
      await one.getByRole('dialog').getByRole('button', { name: 'Replay 3' }).click();
      await one.getByText('1 event was replayed. 2 others were no longer parked: somebody else has decided about them.').waitFor();
      await other.getByText('None is parked').waitFor();
    });
  });
});

test('who is on a page of which somebody else has decided is led to what is left', async () => {
  await seed.parked(gateway, 'paged', 130);
  await onSubscription('paged', async (page) => {
    await page.getByRole('button', { name: 'Next page' }).click();
    await until(async () => await page.locator('main [data-row]').count() === 30, 'the second page is there');
    await gateway.call('POST', '/v1/subscriptions/paged/parkedEvents:discard', { eventIds: (await parkedIds('paged')).slice(100) });
    await until(async () => await page.locator('main [data-row]').count() === 100, 'the first page is there', 15_000);
  });
});

test('who leaves the page ends what it was doing', async () => {
  await seed.parked(gateway, 'left', 250);
  await onPage({ gateway, path: '/console/subscriptions' }, async (page) => {
    await shown(page, /subscriptions/i);
    await page.getByRole('link', { name: 'left', exact: true }).click();
    await shown(page, /left/);
    let portions = 0;
    let answered = 0;
    await page.route('**/parkedEvents:discard', async (route) => {
      if (++portions === 1) await page.goBack();
      await route.fulfill({ response: await route.fetch() });
      answered++;
    });
    await beginAll(page, 'Discard');
    await shown(page, /subscriptions/i);
    await until(async () => answered === 1, 'the portion is done');
    await page.getByRole('row').filter({ hasText: 'left' }).getByText('150', { exact: true }).waitFor();
    assert.equal(portions, 1);
    await page.getByRole('link', { name: 'left', exact: true }).click();
    await page.getByRole('status').getByText('Cancelled. 100 events were discarded. The rest was not.').waitFor();
  });
  assert.equal((await parkedIds('left')).length, 150);
});

test('the time that a subscription is moved to is in UTC', async () => {
  await onSubscription('moved', async (page) => {
    await page.locator('main').getByRole('button', { name: /move/i }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('radio', { name: 'a time' }).check();
    for (const [minutes, none] of /** @type {const} */ ([[1, true], [-60, false]])) {
      await dialog.getByLabel('Time in UTC').fill(new Date(Date.now() + minutes * 60_000).toISOString().slice(0, 19));
      await dialog.getByRole('button', { name: 'Preview' }).click();
      await dialog.getByText(none ? /deliver 0 events/ : /deliver [1-9][\d,]* events/).waitFor();
    }
  });
});
