// Reads a stream of Subscribe and takes its lines apart, beside the page. It reads on only
// while the page has taken what it was sent: then the gateway waits, and serves from disk.

/** @typedef {import('../lib/types.js').Frame} Frame */
/** @typedef {{type: 'start', url: string, headers: Record<string, string>, body: string, silence: number} | {type: 'more'} | {type: 'stop'}} ToWorker */
/** @typedef {{type: 'open'} | {type: 'frames', frames: Frame[]} | {type: 'end', status: number, error: {reason: string, message: string, metadata?: Record<string, string>} | null}} FromWorker */

/** How long frames are gathered, in milliseconds, and up to how many events: a message costs the page more than a few frames. */
const GATHER = 50;
const MOST = 250;

/** How many messages may be on their way to the page. */
let credit = 4;
/** @type {(() => void) | null} */
let wake = null;
/** @type {AbortController | null} */
let stop = null;

const post = (/** @type {FromWorker} */ message) => self.postMessage(message);

self.onmessage = (/** @type {MessageEvent<ToWorker>} */ { data }) => {
  if (data.type === 'start') void run(data);
  else if (data.type === 'more') { credit++; wake?.(); } else stop?.abort();
};

/** @param {Extract<ToWorker, {type: 'start'}>} request */
async function run(request) {
  stop = new AbortController();
  try {
    const answer = await fetch(request.url, { method: 'POST', headers: request.headers, body: request.body, signal: stop.signal, cache: 'no-store', redirect: 'error' });
    if (!answer.ok || !answer.body) {
      const { error } = await answer.json().catch(() => ({ error: { reason: '', message: `The gateway answered ${answer.status}.` } }));
      post({ type: 'end', status: answer.status, error });
      return;
    }
    post({ type: 'open' });
    await read(answer.body.getReader(), request.silence);
  } catch {
    flush();
    post({ type: 'end', status: 0, error: null });
  }
}

/** Frames that the page still has to get, and how many events they have. @type {Frame[]} */
let gathered = [];
let events = 0;
let last = -Infinity;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

function flush() {
  clearTimeout(timer);
  timer = undefined;
  if (gathered.length === 0) return;
  credit--;
  last = performance.now();
  post({ type: 'frames', frames: gathered });
  gathered = [];
  events = 0;
}

/** @param {Frame} frame */
function gather(frame) {
  gathered.push(frame);
  events += frame.events?.events?.length ?? 0;
}

/** @param {ReadableStreamDefaultReader<Uint8Array>} reader @param {number} silence how long the stream may say nothing, in milliseconds */
async function read(reader, silence) {
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    while (credit <= 0) await new Promise((resolve) => { wake = () => resolve(undefined); });
    const watchdog = setTimeout(() => stop?.abort(), silence);
    const { done, value } = await reader.read().finally(() => clearTimeout(watchdog));
    if (done) break;
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line) continue;
      /** @type {Frame} */
      const frame = JSON.parse(line);
      if (frame.error) {
        const { reason = '', message = '', metadata } = frame.error;
        flush();
        post({ type: 'end', status: 200, error: { reason, message, ...(metadata && { metadata }) } });
        return;
      }
      gather(frame);
    }
    const wait = last + GATHER - performance.now();
    if (wait <= 0 || events >= MOST) flush();
    else timer ??= setTimeout(flush, wait);
  }
  flush();
  post({ type: 'end', status: 200, error: null });
}

export {};
