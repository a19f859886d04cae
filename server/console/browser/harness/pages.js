// The pages of the console.
import * as seed from './seed.js';

/** @typedef {import('./gateway.js').Gateway} Gateway */

/** Fills a gateway with something for every page. @param {Gateway} gateway */
export async function fill(gateway) {
  await seed.events(gateway);
  await seed.session(gateway, '7000000006', ['started', 'institutionSupported', 'unableToConnect']);
  await seed.refused(gateway);
  await seed.parked(gateway, 'billing', 3);
}

/** The paths of all pages, and the name of each. @param {Gateway} gateway */
export async function all(gateway) {
  const { id } = await seed.newest(gateway, { eventTypes: ['EVENT_TYPE_FINICITY_ADDED'], clientIds: ['acme'] });
  return {
    '/console/': /overview/i,
    '/console/live': /live/i,
    '/console/find': /find/i,
    [`/console/events/${id}`]: /added/i,
    '/console/sessions': /sessions/i,
    '/console/refused': /refused/i,
    '/console/subscriptions': /subscriptions/i,
    '/console/subscriptions/billing': /billing/i,
    '/console/streams': /streams/i,
  };
}

/**
 * Waits until a page shows what it is about.
 * @param {import('playwright-core').Page} page @param {RegExp} name
 */
export async function shown(page, name) {
  await page.getByRole('heading', { level: 1, name }).waitFor();
  await page.locator('[aria-busy="true"]').first().waitFor({ state: 'detached' });
}

/** Waits until a page shows itself, and not what is painted before its scripts. @param {import('playwright-core').Page} page */
export const drawn = (page) => shown(page, /^(?!webhook-gateway$)/);
