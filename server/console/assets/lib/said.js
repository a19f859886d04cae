// What became of what was done to a subscription, in words. It outlasts the page: the gateway may ask for a token in the middle.
import { signal } from '@preact/signals';

/** @typedef {{text: string, sure: boolean}} Said sure: it is certain what was done, and it was what was asked for */

/** The newest, of the subscription of a name. @type {import('@preact/signals').Signal<(Said & {name: string}) | null>} */
export const said = signal(null);
