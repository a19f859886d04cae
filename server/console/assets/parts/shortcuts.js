// Keys that work on every page, and the dialog that shows them.
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { html } from '../lib/html.js';
import { BASE, navigate, path } from '../lib/router.js';
import { Dialog } from './dialog.js';

export const shortcutsShown = signal(false);

/** @type {[string, string][]} */
const keys = [
  ['/', 'Go to the filter, or to Find'], ['j', 'Next row'], ['k', 'Previous row'], ['Enter', 'Open the row'], ['Space', 'Live: pause, resume'],
  ['Esc', 'Leave a field, close a dialog'], ['?', 'Show these keys'],
];

/** Moves the focus between the rows of the page. @param {number} step */
function moveRow(step) {
  const links = [...document.querySelectorAll('[data-rows] [data-row] a[data-open]')];
  const at = links.findIndex((link) => link.closest('[data-row]')?.contains(document.activeElement));
  const next = links[at < 0 ? 0 : at + step];
  if (next instanceof HTMLElement) next.focus();
}

/** Puts the focus into the first field of the page's filter. */
function toFilter() {
  const field = document.querySelector('main form[role="search"] input, main form[role="search"] select');
  if (field instanceof HTMLElement) field.focus();
  return field !== null;
}

/** @param {KeyboardEvent} e */
function pressed(e) {
  const target = e.target instanceof HTMLElement ? e.target : null;
  const typing = target?.matches('input:not([type="checkbox"]):not([type="radio"]), select, textarea');
  if (e.key === 'Escape' && typing && !target?.closest('dialog')) {
    target?.blur();
    return;
  }
  if (e.ctrlKey || e.metaKey || e.altKey || typing || document.querySelector('dialog[open]')) return;
  switch (e.key) {
    case '/':
      if (!toFilter() && path.value !== 'find') {
        navigate(`${BASE}find`);
        requestAnimationFrame(() => requestAnimationFrame(toFilter));
      }
      break;
    case 'j': moveRow(1); break;
    case 'k': moveRow(-1); break;
    case '?': shortcutsShown.value = true; break;
    default: return;
  }
  e.preventDefault();
}

export function Shortcuts() {
  useEffect(() => {
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);
  if (!shortcutsShown.value) return null;
  return html`
    <${Dialog} title="Shortcuts" onClose=${() => { shortcutsShown.value = false; }}>
      <dl class="keys">${keys.map(([key, what]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
      <p class="dialog-end"><button type="button" class="primary" autofocus onClick=${() => { shortcutsShown.value = false; }}>Close</button></p>
    </${Dialog}>`;
}
