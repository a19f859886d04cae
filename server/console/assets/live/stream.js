// A stream of events that goes on: it resumes where it was, and proves that nothing is missing.
import { ApiError, headers, get } from '../lib/api.js';
import { int, seconds } from '../lib/format.js';
import { forget } from '../lib/token.js';

/** @typedef {import('../lib/types.js').EventFilter} EventFilter */
/** @typedef {import('../lib/types.js').Frame} Frame */
/** @typedef {import('../lib/types.js').GatewayEvent} GatewayEvent */
/** @typedef {'connecting' | 'catching up' | 'live' | 'reconnecting' | 'paused' | 'failed'} State */

const HEARTBEAT = 5;
/** How many events wait to be drawn before the worker has to wait. */
const UNDRAWN = 1000;

/** What trying again does not mend. */
const final = ['NOT_GRANTED', 'INVALID_FIELD', 'CURSOR_EXPIRED', 'CURSOR_OF_ANOTHER_LOG', 'CURSOR_MALFORMED', 'HISTORY_LOST', 'EVENT_DAMAGED', 'HOST_NOT_ALLOWED', 'CONSOLE_REPLACED'];
/** Of those, what says nothing of the place. */
const placed = ['NOT_GRANTED', 'INVALID_FIELD', 'HOST_NOT_ALLOWED'];

export class LiveStream {
  /** @param {EventFilter} filter @param {string} cursor empty: now @param {() => void} changed called for what is to be drawn */
  constructor(filter, cursor, changed) {
    this.filter = filter;
    this.cursor = cursor;
    this.changed = changed;
    /** @type {State} */
    this.state = 'connecting';
    /** Events that are still to be drawn, the oldest first. @type {GatewayEvent[]} */
    this.fresh = [];
    /** How many events of the log the stream was behind when the gateway last said so. */
    this.lag = 0;
    /** How many events were left out because they failed verification. */
    this.leftOut = 0;
    /** How far the gateway's clock is ahead of this machine's, in milliseconds. */
    this.ahead = 0;
    /** @type {{text: string, id: number}[]} */
    this.gaps = [];
    /** @type {ApiError | null} */
    this.error = null;
    this.failures = 0;
    /** When it is tried again. @type {number | null} */
    this.retryAt = null;
    /** @type {Worker | null} */
    this.worker = null;
    /** @type {number | undefined} */
    this.timer = undefined;
    this.owed = 0;
    /** Which try this is: another one begins, or none, when it is disconnected. */
    this.turn = 0;
    this.leftOutBefore = 0;
    /** Ids of events that the page has otherwise. @type {Set<string>} */
    this.known = new Set();
    /** @type {() => void} */
    this.place = () => {};
    /** When it is known where it begins. @type {Promise<void>} */
    this.placed = new Promise((resolve) => { this.place = resolve; });
  }

  /** Connects, at the cursor. */
  async connect() {
    this.disconnect();
    if (this.cursor === '') {
      const { turn } = this;
      try {
        const log = await get('/v1/log');
        // Who paused it meanwhile goes on there.
        if (this.cursor === '' && (this.turn === turn || this.state === 'paused')) {
          this.cursor = log.headCursor ?? '';
          this.place();
        }
        if (this.turn !== turn) return;
        if (log.serverTime) this.ahead = Date.parse(log.serverTime) - Date.now();
      } catch (e) {
        if (this.turn === turn) this.ended(e instanceof ApiError ? e.status : 0, e instanceof ApiError ? e : null);
        return;
      }
    }
    const script = new URL('./worker.js', import.meta.url);
    const worker = new Worker(script, { type: 'module' });
    this.worker = worker;
    worker.onmessage = ({ data }) => { if (this.worker === worker) this.take(data); };
    worker.onerror = async () => {
      // A gateway of another version has other files.
      const gone = await fetch(script, { method: 'HEAD' }).then(({ status }) => status === 404, () => false);
      if (this.worker === worker) this.ended(0, gone ? new ApiError(404, 'CONSOLE_REPLACED', 'The gateway has another version by now. Load this page again.') : null);
    };
    worker.postMessage({
      type: 'start', url: new URL('/v1/events:subscribe', location.href).href, silence: 3 * HEARTBEAT * 1000 + 2000,
      headers: { ...headers(), 'Content-Type': 'application/json' },
      body: JSON.stringify({
        filters: [this.filter], view: 'EVENT_VIEW_METADATA', heartbeatInterval: `${HEARTBEAT}s`, maxBatchSize: 250, onExpired: 'EXPIRED_POLICY_EARLIEST',
        ...(this.cursor === 'earliest' ? { startPosition: 'START_POSITION_EARLIEST' } : { startCursor: this.cursor }),
      }),
    });
  }

  disconnect() {
    this.turn++;
    clearTimeout(this.timer);
    this.retryAt = null;
    this.owed = 0;
    this.worker?.postMessage({ type: 'stop' });
    this.worker?.terminate();
    this.worker = null;
  }

  /** Stops reading. Nothing is lost: resume goes on at the cursor. */
  pause() {
    this.disconnect();
    this.state = 'paused';
    this.changed();
  }

  /** Goes on: where it was paused, or with what comes now. @param {boolean} skip */
  resume(skip) {
    if (skip) this.cursor = '';
    this.error = null;
    this.state = 'connecting';
    this.changed();
    void this.connect();
  }

  /** Tries again after it failed: where it was, or with what comes now if nothing can be read from there. */
  again() {
    const there = placed.includes(this.error?.reason ?? '');
    if (!there && this.cursor !== '') this.missing('A gap: it goes on with what comes now. What came before that, and is not shown, is in Find.');
    this.resume(!there);
  }

  /** What was drawn makes room. While it is paused nothing more is drawn. @returns {GatewayEvent[]} */
  drain() {
    if (this.state === 'paused') return [];
    const events = this.fresh;
    this.fresh = [];
    for (; this.owed > 0; this.owed--) this.worker?.postMessage({ type: 'more' });
    return events;
  }

  /** @param {import('./worker.js').FromWorker} message */
  take(message) {
    if (message.type === 'open') {
      this.leftOutBefore = this.leftOut;
      this.state = 'catching up';
    } else if (message.type === 'frames') {
      for (const frame of message.frames) this.frame(frame);
      if (this.fresh.length < UNDRAWN) this.worker?.postMessage({ type: 'more' });
      else this.owed++;
    } else this.ended(message.status, message.error && new ApiError(message.status, message.error.reason, message.error.message, message.error.metadata));
    this.changed();
  }

  /** @param {Frame} frame */
  frame(frame) {
    this.failures = 0;
    this.error = null;
    const { subscribed, events, heartbeat, caughtUp, fellBehind, gap, goodbye } = frame;
    if (subscribed) {
      if (this.cursor !== 'earliest') this.chain(subscribed.startCursor);
      this.cursor = subscribed.startCursor ?? this.cursor;
    }
    if (events) {
      this.chain(events.afterCursor);
      for (const event of events.events ?? []) if (!this.known.delete(event.id)) this.fresh.push(event);
      this.cursor = events.events?.at(-1)?.cursor ?? this.cursor;
    }
    for (const moved of [heartbeat, caughtUp, fellBehind, goodbye]) {
      if (!moved) continue;
      this.chain(moved.afterCursor);
      this.cursor = moved.cursor ?? this.cursor;
    }
    if (heartbeat) {
      this.lag = int(heartbeat.lagEvents);
      if (heartbeat.serverTime) this.ahead = Date.parse(heartbeat.serverTime) - Date.now();
    }
    if (heartbeat ?? caughtUp) this.leftOut = this.leftOutBefore + int((heartbeat ?? caughtUp)?.leftOutEvents);
    if (caughtUp) { this.state = 'live'; this.lag = 0; }
    if (fellBehind) { this.state = 'catching up'; this.lag = int(fellBehind.lagEvents); }
    if (gap) {
      this.chain(gap.fromCursor);
      this.cursor = gap.toCursor ?? this.cursor;
      this.missing(gap.reason === 'GAP_REASON_DAMAGED' ? 'A gap: events here are damaged on the disk and cannot be read.' : 'A gap: retention removed events here before they could be shown.');
    }
    if (goodbye) this.retryAt = Date.now() + (seconds(goodbye.retryAfter) || 0) * 1000;
  }

  /** Each frame says from where it moves the position. That has to be where it was. @param {string | undefined} from */
  chain(from) {
    if (from !== undefined && from !== this.cursor) this.missing('A gap: the stream did not go on where it was. Events may be missing here.');
  }

  /** @param {string} text */
  missing(text) { this.gaps = [...this.gaps.slice(-4), { text, id: Date.now() + this.gaps.length }]; }

  /** @param {number} status @param {ApiError | null} error */
  ended(status, error) {
    const asked = Math.max(0, (this.retryAt ?? 0) - Date.now());
    this.disconnect();
    if (this.state === 'paused') return;
    this.error = error;
    if (status === 401 && error) { forget(error); return; }
    if (error && final.includes(error.reason)) {
      this.state = 'failed';
    } else {
      this.state = 'reconnecting';
      const wait = Math.max(asked, Math.min(500 * 2 ** this.failures++, 15_000) * (0.75 + Math.random() / 2));
      this.retryAt = Date.now() + wait;
      this.timer = window.setTimeout(() => void this.connect(), wait);
    }
    this.changed();
  }
}
