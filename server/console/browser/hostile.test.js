// Whatever providers, strangers and workers write, it is text.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fits, onPage, withBrowser } from './harness/browser.js';
import { finicityBody, Gateway } from './harness/gateway.js';
import { all, shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

const IMAGE = '<img src=x onerror="window.broken=1">';
const LINK = 'javascript:window.broken=1';
const OVERRIDE = '\u202Eevil\u202C';
const SCRIPT = '"><script>window.broken=1</script>';

withBrowser();
/** @type {Gateway} */
let gateway;
/** Ids of events by what is hostile about them. @type {Record<string, string>} */
const ids = {};

before(async () => {
  gateway = await Gateway.start({ actions: true });
  let deep = '1';
  for (let n = 0; n < 90; n++) deep = n % 2 ? `{"d":${deep}}` : `[${deep}]`;
  const account = { id: IMAGE, number: LINK, name: OVERRIDE, type: SCRIPT, accountNickname: 'x'.repeat(1 << 20), detail: { url: LINK, html: IMAGE } };
  /** @type {Record<string, object | string>} */
  const bodies = {
    markup: { customerId: IMAGE, eventType: 'added', payload: { institutionId: SCRIPT, accounts: [account], [IMAGE]: 1 } },
    type: { customerId: OVERRIDE, eventType: IMAGE, payload: { [SCRIPT]: LINK } },
    prototype: JSON.stringify(finicityBody({ eventType: 'done', eventId: 'prototype', payload: 'PROTO' }))
      .replace('"PROTO"', '{"__proto__":{"polluted":1,"html":"<b>"},"constructor":{"prototype":{"polluted":1}},"hasOwnProperty":1,"toString":2}'),
    deep: JSON.stringify(finicityBody({ eventType: 'done', eventId: 'deep', payload: 'DEEP' })).replace('"DEEP"', `{"deep":${deep}}`),
    search: { eventType: 'institutionNotFound', payload: { query: IMAGE } },
    long: { customerId: 'c'.repeat(250), eventType: 'unheard of '.repeat(20) },
  };
  for (const [name, body] of Object.entries(bodies)) {
    await gateway.finicity(body, { headers: { 'User-Agent': IMAGE, 'X-Session': SCRIPT, tracestate: 'a=<b>' } });
    ids[name] = (await seed.newest(gateway, {})).id;
  }
  await gateway.vezgo({ user: { id: IMAGE, loginName: OVERRIDE }, account: { id: LINK, provider: SCRIPT } });
  for (const client of [IMAGE, OVERRIDE, 'c'.repeat(300), '../../x']) {
    await gateway.post(`/v1/webhooks/finicity/${encodeURIComponent(client)}`, '{}', { 'X-Finicity-Signature': IMAGE });
    await gateway.post('/v1/webhooks/vezgo', '{"hook":1}', { 'X-Client-Id': encodeURIComponent(client) });
  }
  await gateway.post('/v1/webhooks/vezgo', '{"hook":1}', { 'X-Client-Id': IMAGE });
  await gateway.call('POST', '/v1/subscriptions', { name: 'billing', filters: [{ subjects: [IMAGE] }], start: { position: 'START_POSITION_EARLIEST' } });
  const worker = await gateway.stream('/v1/subscriptions/billing:consume', {});
  for (;;) {
    const { deliveries } = await worker.next();
    if (!deliveries) continue;
    await gateway.call('POST', '/v1/subscriptions/billing:reject', { ackTokens: deliveries.deliveries.map((/** @type {any} */ d) => d.ackToken), action: 'REJECT_ACTION_PARK', reason: `${IMAGE} ${OVERRIDE} ${'m'.repeat(900)}` });
    break;
  }
  worker.close();
});
after(() => gateway?.stop());

/** Fails if anything of what was sent became more than text. @param {import('playwright-core').Page} page */
async function harmless(page) {
  assert.deepEqual(await page.evaluate((markers) => {
    const anchors = [...document.querySelectorAll('a[href], form[action], iframe, object, embed')].filter((e) => !(/** @type {any} */ (e).href ?? '').startsWith(location.origin));
    // What a line of text turns round must not turn round what stands beside it.
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const loose = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (!node.nodeValue?.includes('\u202E')) continue;
      let e = node.parentElement;
      while (e && getComputedStyle(e).unicodeBidi === 'normal' && getComputedStyle(e).display === 'inline') e = e.parentElement;
      const alone = e && getComputedStyle(e).unicodeBidi === 'normal' ? e.textContent === node.nodeValue : true;
      if (!alone) loose.push(node.parentElement?.outerHTML.slice(0, 200));
    }
    return {
      broken: /** @type {any} */ (window).broken, polluted: /** @type {any} */ ({}).polluted,
      images: document.querySelectorAll(markers).length, anchors: anchors.map((e) => e.outerHTML.slice(0, 200)), loose,
    };
  }, 'img[onerror], main script, b'), { broken: undefined, polluted: undefined, images: 0, anchors: [], loose: [] });
}

test('every page shows it as text, and keeps its layout', async () => {
  for (const width of [360, 1280]) {
    await onPage({ gateway, width }, async (page) => {
      for (const [path, name] of Object.entries(await all(gateway))) {
        await page.goto(`${gateway.origin}${path}${path === '/console/live' ? '?from=earliest' : ''}`);
        await shown(page, name);
        await harmless(page);
        await fits(page);
      }
    });
  }
});

for (const name of ['markup', 'type', 'prototype', 'deep', 'search', 'long']) {
  test(`an event with ${name} is shown whole, and harmless`, async () => {
    for (const width of [360, 1280]) {
      await onPage({ gateway, path: `/console/events/${ids[name]}`, width }, async (page) => {
        await shown(page, /./);
        // Everything that can be opened is.
        for (const tab of await page.getByRole('tab').all()) {
          await tab.click();
          await harmless(page);
          await fits(page);
        }
        const summaries = page.locator('details:not([open]) > summary:visible');
        for (let n = 0; n < 50 && await summaries.count() > 0; n++) await summaries.first().click();
        await harmless(page);
        await fits(page);
      });
    }
  });
}
