// The URL is the state of a page.
import { computed, signal } from '@preact/signals';

export const BASE = '/console/';

/** @type {import('@preact/signals').Signal<{pathname: string, search: string}>} */
const place = signal({ pathname: location.pathname, search: location.search });

/** What comes after BASE. */
export const path = computed(() => (place.value.pathname.startsWith(BASE) ? place.value.pathname.slice(BASE.length) : ''));

/** The query. Do not change it: see setQuery. */
export const query = computed(() => new URLSearchParams(place.value.search));

function read() {
  if (place.value.pathname !== location.pathname || place.value.search !== location.search) {
    place.value = { pathname: location.pathname, search: location.search };
  }
}

/**
 * Keeps with the place in the history what is needed to come back to it.
 * @param {object} where
 */
export const mark = (where) => history.replaceState(where, '');

/** @param {string} url @param {{replace?: boolean}} [options] */
export function navigate(url, { replace = false } = {}) {
  if (replace) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  read();
}

/** Puts values into the query; an empty one goes. @param {Record<string, string | string[]>} values @param {{replace?: boolean}} [options] */
export function setQuery(values, options) {
  const next = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    next.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one) next.append(name, one);
  }
  const text = next.toString();
  if (text !== new URLSearchParams(location.search).toString()) navigate(location.pathname + (text ? `?${text}` : ''), options);
}

/** The page of an event. @param {string} id */
export const eventPath = (id) => `${BASE}events/${encodeURIComponent(id)}`;

/** Follows links within the console without loading it again. */
export function follow() {
  addEventListener('popstate', read);
  document.addEventListener('click', (e) => {
    const link = e.target instanceof Element ? e.target.closest('a') : null;
    if (!link || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || link.target) return;
    if (link.origin !== location.origin || !link.pathname.startsWith(BASE) || link.pathname.startsWith(`${BASE}assets/`)) return;
    if (link.hash && link.pathname === location.pathname) return;
    e.preventDefault();
    const url = link.pathname + link.search;
    navigate(url, { replace: url === location.pathname + location.search });
  });
}
