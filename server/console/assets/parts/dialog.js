// Dialogs. The browser keeps the focus in them, and gives it back.
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import { html } from '../lib/html.js';

/** @param {{title: string, onClose: () => void, locked?: boolean, children?: import('../lib/html.js').Children}} props locked: Escape does not close it */
export function Dialog({ title, onClose, locked = false, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useLayoutEffect(() => {
    const back = document.activeElement;
    const shown = dialog.current;
    shown?.showModal();
    return () => {
      shown?.close();
      if (back instanceof HTMLElement && back.isConnected) back.focus();
    };
  }, []);
  return html`
    <dialog ref=${dialog} aria-labelledby=${id} onCancel=${(/** @type {Event} */ e) => { e.preventDefault(); if (!locked) onClose(); }}>
      <h2 id=${id}>${title}</h2>
      ${children}
    </dialog>`;
}
