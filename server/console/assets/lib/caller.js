// Who the user is, and what is granted.
import { signal } from '@preact/signals';
import { asApiError, get } from './api.js';
import { said } from './said.js';
import { forget, keep, signInNeeded } from './token.js';

/** @typedef {import('./types.js').Caller} Caller */

/** Null: it is not known yet. @type {import('@preact/signals').Signal<Caller | null>} */
export const caller = signal(null);

/** Why it could not be asked for. @type {import('@preact/signals').Signal<import('./api.js').ApiError | null>} */
export const callerError = signal(null);

/** Asks the gateway who the user is. */
export async function loadCaller() {
  try {
    caller.value = await get('/v1/caller');
    callerError.value = null;
    signInNeeded.value = null;
  } catch (e) {
    const error = asApiError(e);
    caller.value = null;
    callerError.value = error.status === 401 ? null : error;
  }
}

/** @param {string} value */
export async function signIn(value) {
  if (!/^[\x21-\x7e]+$/.test(value)) {
    forget({ message: 'That is no token: a token is one word of letters, digits and signs.', reason: 'CREDENTIALS_INVALID' });
    return;
  }
  keep(value);
  await loadCaller();
  // Without an answer the token is kept and tried again, which the page says.
  if (callerError.value) signInNeeded.value = null;
}

/** How often somebody signed out here. What was begun before is told to nobody who comes after. */
export let signOuts = 0;

export function signOut() {
  signOuts++;
  keep('');
  caller.value = null;
  said.value = null;
  signInNeeded.value = { message: '', reason: 'SIGNED_OUT' };
}

/** Whether events may be read. @param {Caller | null} who */
export const readsEvents = (who) => (who?.views ?? []).length > 0;

/** Whether some subscriptions may be used. @param {Caller | null} who */
export const usesSubscriptions = (who) => (who?.subscriptions ?? []).length > 0;

/** Whether a subscription may be changed. @param {Caller | null} who @param {string} name */
export const manages = (who, name) => (who?.subscriptions ?? []).some((s) => s.manage && name.startsWith(s.prefix ?? ''));

/** The richest view that is granted. @param {Caller | null} who */
export const richestView = (who) => ['EVENT_VIEW_RAW', 'EVENT_VIEW_FULL', 'EVENT_VIEW_METADATA'].find((v) => who?.views?.includes(v)) ?? 'EVENT_VIEW_METADATA';
