// What Chromium did, from its own trace.

/**
 * Traces a page for a time.
 * @param {import('playwright-core').Page} page @param {() => Promise<unknown>} meanwhile
 */
export async function trace(page, meanwhile) {
  const session = await page.context().newCDPSession(page);
  /** @type {any[]} */
  const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['devtools.timeline', 'toplevel', 'blink.user_timing', '__metadata'] } });
  await meanwhile();
  const complete = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.end');
  await complete;
  return events;
}

/** @param {number[]} sorted @param {number} part */
export const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;

/**
 * The tasks of the page's main thread, and those of them that make a frame: its code, its
 * styles, its layout and its painting. In milliseconds as a user feels them, and of the
 * processor, which do not depend on what else the machine does.
 * @param {any[]} events @param {string} origin
 */
export function work(events, origin) {
  const thread = events.find((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain' && events.some((o) => o.pid === e.pid && o.tid === e.tid && JSON.stringify(o.args ?? {}).includes(origin)));
  if (!thread) throw new Error('the trace has no thread of the page');
  const mine = events.filter((e) => e.pid === thread.pid && e.tid === thread.tid && e.ph === 'X');
  const tasks = mine.filter((e) => e.name === 'RunTask' || e.name === 'ThreadControllerImpl::RunTask').map((e) => ({ start: e.ts / 1000, took: e.dur / 1000, cpu: (e.tdur ?? 0) / 1000 }));
  /** @type {typeof tasks} */
  const frames = [];
  for (const task of tasks) {
    const inside = mine.some((e) => (e.name === 'FireAnimationFrame' || e.name === 'UpdateLayoutTree' || e.name === 'Layout' || e.name === 'Paint') && e.ts / 1000 >= task.start && e.ts / 1000 <= task.start + task.took);
    if (inside) frames.push(task);
  }
  const spread = (/** @type {number[]} */ values) => {
    values.sort((a, b) => a - b);
    return { p50: quantile(values, 0.5), p95: quantile(values, 0.95), p99: quantile(values, 0.99), most: values.at(-1) ?? 0 };
  };
  return {
    tasks: tasks.length, long: tasks.filter((t) => t.took > 50).length, longest: spread(tasks.map((t) => t.took)).most, longestCPU: spread(tasks.map((t) => t.cpu)).most,
    frames: frames.length, frame: spread(frames.map((f) => f.took)), frameCPU: spread(frames.map((f) => f.cpu)),
  };
}
