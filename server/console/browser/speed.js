// Measures the console in Chromium: the first paint, and the live page under load. It
// judges nothing: what it prints is for docs/performance.md.
import { fork } from 'node:child_process';
import { launch, until } from './harness/browser.js';
import { Gateway } from './harness/gateway.js';
import { drawn } from './harness/pages.js';
import * as seed from './harness/seed.js';
import { quantile, trace, work } from './harness/trace.js';

const SECONDS = Number(process.env.SECONDS ?? 15);
const gateway = await Gateway.start();
const browser = await launch();
try {
  await seed.events(gateway);
  await firstPaint('/console/');
  await firstPaint('/console/live');
  for (const rate of [500, 2000]) await live(rate);
} finally {
  await browser.close();
  await gateway.stop();
}

/** Each time in a context of its own, so that nothing is cached. @param {string} path */
async function firstPaint(path) {
  /** @type {number[]} */
  const paints = [];
  /** @type {number[]} */
  const pages = [];
  for (let n = 0; n < 15; n++) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.addInitScript(() => {
      // What is painted first has the name of the console. Then its scripts draw the page.
      const observer = new MutationObserver(() => {
        const heading = document.querySelector('h1')?.textContent;
        if (!heading || heading === 'webhook-gateway') return;
        observer.disconnect();
        performance.mark('drawn');
      });
      observer.observe(document, { subtree: true, childList: true, characterData: true });
    });
    await page.goto(gateway.origin + path);
    pages.push(await until(() => page.evaluate(() => performance.getEntriesByName('drawn')[0]?.startTime), 'it is drawn'));
    paints.push(await until(() => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime), 'it is painted'));
    await context.close();
  }
  const words = (/** @type {number[]} */ times) => {
    times.sort((a, b) => a - b);
    return `p50 ${quantile(times, 0.5).toFixed(0)} ms, slowest of ${times.length} ${times.at(-1)?.toFixed(0)} ms`;
  };
  console.log(`${path}: first contentful paint ${words(paints)}; the page itself ${words(pages)}`);
}

/** @param {number} rate */
async function live(rate) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(`${gateway.origin}/console/live`);
  await drawn(page);
  const sender = fork(new URL('./harness/sender.js', import.meta.url), [gateway.webhooks, String(rate)]);
  await page.waitForTimeout(2000); // until it flows evenly
  /** @type {number[]} */
  const clicks = [];
  const events = await trace(page, async () => {
    for (let n = 0; n < SECONDS; n++) {
      await page.waitForTimeout(1000);
      if (rate < 1000 || n % 3 > 0) continue;
      clicks.push(await page.evaluate(async () => {
        // How late the page answers what a user does now.
        const began = performance.now();
        await new Promise((resolve) => setTimeout(resolve));
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
        return performance.now() - began;
      }));
    }
  });
  const sent = new Promise((resolve) => sender.once('message', resolve));
  sender.send('stop');
  const { perSecond } = /** @type {{perSecond: number}} */ (await sent);
  const { tasks, long, longest, longestCPU, frames, frame, frameCPU } = work(events, gateway.origin);
  const spread = (/** @type {typeof frame} */ { p50, p95, p99 }) => `p50 ${p50.toFixed(1)}, p95 ${p95.toFixed(1)}, p99 ${p99.toFixed(1)} ms`;
  console.log(`/console/live at ${perSecond.toFixed(0)} events/s for ${SECONDS} s: ${tasks} tasks, ${long} over 50 ms, longest ${longest.toFixed(1)} ms (processor ${longestCPU.toFixed(1)} ms); `
    + `${frames} frames, work ${spread(frame)} (processor: ${spread(frameCPU)})`
    + (clicks.length > 0 ? `; answers to a click ${clicks.map((c) => c.toFixed(0)).join(', ')} ms` : ''));
  await context.close();
}
