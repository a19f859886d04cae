// Delivers events at a rate, in a process of its own: what measures a page is busy with the trace.
import { Gateway } from './gateway.js';

const gateway = new Gateway({});
gateway.webhooks = process.argv[2] ?? '';
const flood = gateway.flood(Number(process.argv[3]));
process.once('message', async () => {
  process.send?.(await flood.stop());
  process.disconnect();
});
