// Delivers events at a rate, in a process of its own: what measures a page is busy with the trace.
import { Gateway } from './gateway.js';

const gateway = new Gateway({});
gateway.webhooks = process.argv[2] ?? '';
// Another sender has sent events by the same numbers: these are no duplicates of them.
const flood = gateway.flood(Number(process.argv[3]), (n) => ({ eventType: 'mfa', eventId: `${process.pid}-${n}`, customerId: `customer-${n % 50}` }));
process.once('message', async () => {
  process.send?.(await flood.stop());
  process.disconnect();
});
