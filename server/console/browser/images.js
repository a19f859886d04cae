// Takes the pictures of docs/images/, with something to see on each.
import { mkdir, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { launch } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { shown } from './harness/pages.js';
import * as seed from './harness/seed.js';

const MOST_BYTES = 200_000;
const folder = process.env.IMAGES ?? fileURLToPath(new URL('../../../docs/images/', import.meta.url));
const gateway = await Gateway.start({ actions: true });
const browser = await launch(['--font-render-hinting=none']);
try {
  await mkdir(folder, { recursive: true });
  await seed.events(gateway);
  await seed.session(gateway, '7000000006', ['started', 'institutionSupported', 'unableToConnect']);
  await seed.refused(gateway);
  await seed.parked(gateway, 'billing', 3);
  // Something for the charts: a while of ups and downs.
  for (const [rate, seconds] of [[40, 12], [90, 12], [60, 12], [120, 12], [70, 14]]) {
    const flood = gateway.flood(/** @type {number} */ (rate), (n) => ({ eventType: seed.whole[n % 6], customerId: `70000${String(n % 40).padStart(5, '0')}` }));
    const refusals = setInterval(() => void seed.refused(gateway), 400);
    await new Promise((resolve) => setTimeout(resolve, /** @type {number} */ (seconds) * 1000));
    clearInterval(refusals);
    await flood.stop();
  }
  const { id } = await seed.newest(gateway, { providerEventIds: ['drift'] });
  await picture('console-overview', '/console/', /overview/i, 'light');
  await picture('console-event', `/console/events/${id}`, /added/, 'dark');
} finally {
  await browser.close();
  await gateway.stop();
}

/** @param {string} name @param {string} path @param {RegExp} heading @param {'light' | 'dark'} colorScheme */
async function picture(name, path, heading, colorScheme) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme, locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(gateway.origin + path);
  await shown(page, heading);
  await page.waitForTimeout(500); // until the last answer is drawn
  const file = `${folder}/${name}.png`;
  await page.screenshot({ path: file });
  await context.close();
  const { size } = await stat(file);
  console.log(`${file}: ${size} bytes`);
  if (size > MOST_BYTES) throw new Error(`${file} is larger than ${MOST_BYTES} bytes`);
}
