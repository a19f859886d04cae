// The token that the user signed in with. It is kept in this tab, until that is closed.
import { signal } from '@preact/signals';

const KEY = 'whg-token';

function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

export const token = signal(stored());

/** Why the gateway asks who it is. Null: it does not. @type {import('@preact/signals').Signal<{message: string, reason: string} | null>} */
export const signInNeeded = signal(null);

/** @param {string} value */
export function keep(value) {
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Then it lasts until the page is loaded again.
  }
  token.value = value;
}

/** Forgets the token, because the gateway does not take it. @param {{message: string, reason: string}} why */
export function forget(why) {
  keep('');
  signInNeeded.value = { message: why.message, reason: why.reason };
}
