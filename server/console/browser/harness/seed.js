// What a gateway is filled with.
import { finicityBody } from './gateway.js';

/** @typedef {import('./gateway.js').Gateway} Gateway */

export const institution = { institutionId: '100001' };

const account = (/** @type {number} */ n) => ({
  id: `600000000${n}`, number: `20202${n}`, name: n % 2 ? 'Checking' : 'IRA', balance: 1250.5 * n, type: n % 2 ? 'checking' : 'ira', status: 'active', currency: 'USD',
});

/** Payloads by type. @type {Record<string, object>} */
const payloads = {
  institutionSupported: institution, adding: { ...institution, oauth: true }, processing: institution, added: { ...institution, accounts: [account(1), account(2)], oauth: true },
  unableToConnect: { ...institution, code: 103 }, invalidCredentials: { ...institution, code: 103 }, mfa: { ...institution, challenge: 1 },
};

/** The types of a whole session. */
export const whole = ['started', 'institutionSupported', 'adding', 'processing', 'added', 'done'];

/**
 * What a customer does in Connect.
 * @param {Gateway} gateway @param {string} customerId @param {string[]} types
 */
export async function session(gateway, customerId, types) {
  for (const eventType of types) await gateway.finicity({ customerId, eventType, payload: payloads[eventType] ?? {} });
}

/**
 * Has a subscription hold parked events: all that come after it was created, of a customer.
 * @param {Gateway} gateway @param {string} name @param {number} count
 */
export async function parked(gateway, name, count) {
  const subject = `parked-of-${name}`;
  await gateway.call('POST', '/v1/subscriptions', { name, filters: [{ subjects: [subject] }], start: { position: 'START_POSITION_EARLIEST' } });
  for (let n = 0; n < count; n++) await gateway.finicity({ customerId: subject, eventType: 'added', payload: payloads.added });
  await park(gateway, name, count);
}

/** Parks what a subscription delivers. @param {Gateway} gateway @param {string} name @param {number} count how many events */
export async function park(gateway, name, count) {
  const worker = await gateway.stream(`/v1/subscriptions/${name}:consume`, {});
  for (let rejected = 0; rejected < count;) {
    const { deliveries } = await worker.next();
    const ackTokens = (deliveries?.deliveries ?? []).map((/** @type {{ackToken: string}} */ d) => d.ackToken);
    if (ackTokens.length === 0) continue;
    await gateway.call('POST', `/v1/subscriptions/${name}:reject`, { ackTokens, action: 'REJECT_ACTION_PARK', reason: 'the ledger has no account 6000000001' });
    rejected += ackTokens.length;
  }
  worker.close();
}

/** An unsigned and a mis-signed delivery, and one to a client that does not exist. @param {Gateway} gateway */
export async function refused(gateway) {
  const body = JSON.stringify(finicityBody({}));
  await gateway.post('/v1/webhooks/finicity/acme', body, {});
  await gateway.post('/v1/webhooks/finicity/acme', body, { 'X-Finicity-Signature': '00'.repeat(32) });
  await gateway.post('/v1/webhooks/finicity/nobody', body, {});
}

/** One of each of what an event can be. @param {Gateway} gateway */
export async function events(gateway) {
  await session(gateway, '7000000001', whole);
  await gateway.finicity({ customerId: '7000000002', eventType: 'added', eventId: 'drift', payload: { ...payloads.added, rewards: { points: 12 } } });
  await gateway.finicity({ customerId: '7000000003', eventType: 'done', eventId: 'conflict', payload: {} });
  await gateway.finicity({ customerId: '7000000003', eventType: 'done', eventId: 'conflict', payload: { again: true } });
  await gateway.finicity({ customerId: '7000000004', eventType: 'balanceAlert', eventId: 'unknown-type', payload: { limit: 5 } });
  await gateway.finicity({ customerId: '7000000005', eventId: 'of-globex' }, { client: 'globex' });
  await gateway.vezgo({});
  await gateway.vezgo({ hook: 'SyncError', error: 'LoginFailedError' });
}

/** The newest event that matches a filter. @param {Gateway} gateway @param {object} filter */
export async function newest(gateway, filter) {
  const { events } = await gateway.call('POST', '/v1/events:list', { filters: [filter], newestFirst: true, pageSize: 1 });
  if (!events?.[0]) throw new Error(`there is no event of ${JSON.stringify(filter)}`);
  return events[0];
}
