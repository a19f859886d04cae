// The subscriptions, and how each of them is.
import { get, withQuery } from './api.js';
import { int } from './format.js';

/** @typedef {import('./types.js').Subscription} Subscription */
/** @typedef {import('./types.js').SubscriptionStatus} Status */

/** All that the caller sees, by name; 5,000 at most. @param {AbortSignal} signal */
export async function subscriptions(signal) {
  /** @type {Subscription[]} */
  const all = [];
  let pageToken = '';
  do {
    const page = await get(withQuery('/v1/subscriptions', { pageSize: 1000, pageToken }), signal);
    all.push(...(page.subscriptions ?? []));
    pageToken = page.nextPageToken ?? '';
  } while (pageToken && all.length < 5000);
  return all;
}

/** How a subscription is. @param {Status} s */
export function lookOf(s) {
  if (s.unusable) return { tone: 'bad', sign: '✕', label: 'Set aside' };
  if (s.gap) return { tone: 'bad', sign: '!', label: 'Gap' };
  if (int(s.parkedEvents) > 0) return { tone: 'warn', sign: '‖', label: 'Parked events' };
  if (int(s.lagEvents) > 0 && !s.streams) return { tone: 'warn', sign: '!', label: 'No worker' };
  if (int(s.waitingEvents) > 0) return { tone: 'warn', sign: '↻', label: 'Retrying' };
  return int(s.lagEvents) > 0 ? { tone: 'plain', sign: '→', label: 'Working' } : { tone: 'good', sign: '✓', label: 'Caught up' };
}
