// Tabs, with the keys that tabs have.
import { useSignal } from '@preact/signals';
import { useId } from 'preact/hooks';
import { html } from '../lib/html.js';

/** @param {{label: string, tabs: {name: string, content: () => unknown}[]}} props */
export function Tabs({ label, tabs }) {
  const at = useSignal(0);
  const id = useId();
  /** @param {KeyboardEvent} e */
  const keys = (e) => {
    const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
    if (step === 0) return;
    e.preventDefault();
    at.value = (at.value + step + tabs.length) % tabs.length;
    document.getElementById(`${id}-${at.value}`)?.focus();
  };
  return html`
    <div class="tabs" role="tablist" aria-label=${label} onKeyDown=${keys}>
      ${tabs.map((tab, i) => html`<button key=${tab.name} type="button" role="tab" id=${`${id}-${i}`} aria-selected=${String(i === at.value)} aria-controls=${`${id}-panel`}
        tabindex=${i === at.value ? 0 : -1} onClick=${() => { at.value = i; }}>${tab.name}</button>`)}
    </div>
    <div role="tabpanel" id=${`${id}-panel`} aria-labelledby=${`${id}-${at.value}`} key=${at.value}>${tabs[at.value]?.content()}</div>`;
}
