// What a page shows is loaded, and loaded again.
import { useEffect, useRef, useState } from 'preact/hooks';
import { asApiError } from './api.js';
import { gatewayNow } from './clock.js';

/**
 * @template T
 * @typedef {object} Loaded
 * @property {T | undefined} data the newest that was loaded
 * @property {import('./api.js').ApiError | undefined} error why the newest try failed
 * @property {boolean} loading nothing was loaded yet
 * @property {() => void} reload
 */

/**
 * Loads something when deps change, and again after some milliseconds while the page is seen.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load @param {unknown[]} deps @param {number} [every] 0: once
 * @returns {Loaded<T>}
 */
export function useLoad(load, deps, every = 0) {
  const [state, setState] = useState(/** @type {{data?: T, error?: import('./api.js').ApiError, key?: string}} */ ({}));
  const [turn, setTurn] = useState(0);
  const key = JSON.stringify(deps);
  const newest = useRef(load);
  newest.current = load;
  useEffect(() => {
    const stop = new AbortController();
    /** @type {number | undefined} */
    let timer;
    let busy = false;
    let loaded = false;
    const run = async () => {
      clearTimeout(timer);
      // A tab in the background is loaded, and then waits until somebody looks at it.
      if (busy || (loaded && document.hidden)) return;
      busy = true;
      try {
        const data = await newest.current(stop.signal);
        if (!stop.signal.aborted) setState({ data, key });
      } catch (e) {
        if (!stop.signal.aborted) setState((old) => ({ ...(old.key === key && old), error: asApiError(e), key }));
      }
      busy = false;
      loaded = true;
      if (every > 0 && !stop.signal.aborted) timer = window.setTimeout(run, every);
    };
    void run();
    const seen = () => { if (!document.hidden && every > 0) void run(); };
    document.addEventListener('visibilitychange', seen);
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }, [key, every, turn]);
  const current = state.key === key;
  return {
    data: current ? state.data : undefined, error: current ? state.error : undefined,
    loading: !current || (state.data === undefined && state.error === undefined), reload: () => setTurn((n) => n + 1),
  };
}

/** The time by the gateway's clock, which goes on. @param {number} [every] milliseconds */
export function useNow(every = 1000) {
  const [now, setNow] = useState(gatewayNow());
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden) setNow(gatewayNow()); }, every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** Whether the window is narrow, so that rows are cards. */
export function useNarrow() {
  const [list] = useState(() => matchMedia('(max-width: 760px)'));
  const [narrow, setNarrow] = useState(list.matches);
  useEffect(() => {
    const change = () => setNarrow(list.matches);
    list.addEventListener('change', change);
    return () => list.removeEventListener('change', change);
  }, [list]);
  return narrow;
}
