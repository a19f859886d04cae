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
  await backlog(60_000);
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

/** @param {number} rate how many events are delivered a second */
async function live(rate) {
  const page = await open('/console/live');
  const sender = fork(new URL('./harness/sender.js', import.meta.url), [gateway.webhooks, String(rate)]);
  await page.waitForTimeout(2000); // until it flows evenly
  const clicks = await watch(page, () => page.waitForTimeout(SECONDS * 1000));
  const sent = new Promise((resolve) => sender.once('message', resolve));
  sender.send('stop');
  const { perSecond } = /** @type {{perSecond: number}} */ (await sent);
  tell(`/console/live at ${perSecond.toFixed(0)} events/s for ${SECONDS} s`, clicks);
  await page.context().close();
}

/** The live page reads what was stored before, as quickly as it takes it. @param {number} stored how many events there are, at least */
async function backlog(stored) {
  const flood = gateway.flood(100_000);
  await until(async () => Number((await gateway.call('GET', '/v1/log')).eventCount) >= stored, 'the events are stored', 120_000);
  await flood.stop();
  const page = await open('/console/live?from=earliest');
  const shown = () => page.evaluate(() => Number(/([\d,]+) since/.exec(document.querySelector('.live-bar')?.textContent ?? '')?.[1]?.replaceAll(',', '')));
  const began = performance.now();
  const before = await shown();
  const seen = await watch(page, () => until(async () => /\bLive\b/.test(await page.locator('.live-bar').innerText()), 'all is read', 120_000));
  const perSecond = (await shown() - before) / ((performance.now() - began) / 1000);
  tell(`/console/live that reads ${stored} events at ${perSecond.toFixed(0)} events/s`, seen);
  await page.context().close();
}

/** @param {string} path */
async function open(path) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.goto(gateway.origin + path);
  await drawn(page);
  return page;
}

/** Traces a page, and how late it answers what a user does, every three seconds. @param {import('playwright-core').Page} page @param {() => Promise<unknown>} meanwhile */
async function watch(page, meanwhile) {
  /** @type {number[]} */
  const clicks = [];
  const events = await trace(page, async () => {
    let over = false;
    const clicking = (async () => {
      while (!over) {
        clicks.push(await page.evaluate(async () => {
          const began = performance.now();
          await new Promise((resolve) => setTimeout(resolve));
          await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
          return performance.now() - began;
        }));
        for (let n = 0; n < 6 && !over; n++) await page.waitForTimeout(500);
      }
    })();
    await meanwhile().finally(() => {
      over = true;
      return clicking;
    });
  });
  return { clicks, ...work(events, gateway.origin) };
}

/** @param {string} what @param {Awaited<ReturnType<typeof watch>>} seen */
function tell(what, { clicks, tasks, long, longest, longestCPU, frames, frame, frameCPU }) {
  const spread = (/** @type {typeof frame} */ { p50, p95, p99 }) => `p50 ${p50.toFixed(1)}, p95 ${p95.toFixed(1)}, p99 ${p99.toFixed(1)} ms`;
  console.log(`${what}: ${tasks} tasks, ${long} over 50 ms, longest ${longest.toFixed(1)} ms (processor ${longestCPU.toFixed(1)} ms); `
    + `${frames} frames, work ${spread(frame)} (processor: ${spread(frameCPU)}); answers to a click ${clicks.map((c) => c.toFixed(0)).join(', ')} ms`);
}
