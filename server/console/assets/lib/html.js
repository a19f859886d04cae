// HTML in templates.
import htm from 'htm';
import { h } from 'preact';

/** @typedef {import('preact').VNode<any>} VNode */
/** @typedef {import('preact').ComponentChildren} Children */

/** Makes an element of a template. Values are text, never markup. */
export const html = /** @type {(strings: TemplateStringsArray, ...values: unknown[]) => VNode} */ (/** @type {unknown} */ (htm.bind(h)));
