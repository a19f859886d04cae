// Dialogs. The browser keeps the focus in them, and gives it back.
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import { html } from '../lib/html.js';

/** @param {{title: string, onClose: () => void, locked?: boolean, children?: import('../lib/html.js').Children}} props locked: Escape does not close it */
export function Dialog({ title, onClose, locked = false, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  const gone = useRef(false);
  useLayoutEffect(() => {
    const back = document.activeElement;
    const shown = dialog.current;
    shown?.showModal();
    return () => {
      gone.current = true;
      shown?.close();
      if (back instanceof HTMLElement && back.isConnected) back.focus();
      // What had the focus may be switched off by what was done.
      requestAnimationFrame(() => {
        if (document.activeElement === document.body || document.activeElement?.matches(':disabled')) /** @type {HTMLElement | null} */ (document.querySelector('main h1'))?.focus();
      });
    };
  }, []);
  useLayoutEffect(() => {
    // What had the focus may be gone, as a button that was pressed.
    if (document.activeElement === document.body) dialog.current?.focus();
  });
  // A browser closes a dialog for the second Escape, whatever the first one was answered.
  const closed = () => {
    if (gone.current) return;
    if (locked) dialog.current?.showModal();
    else onClose();
  };
  return html`
    <dialog ref=${dialog} tabindex="-1" aria-labelledby=${id} closedby=${locked ? 'none' : 'closerequest'} onClose=${closed} onCancel=${(/** @type {Event} */ e) => { e.preventDefault(); if (!locked) onClose(); }}>
      <h2 id=${id}>${title}</h2>
      ${children}
    </dialog>`;
}
