// Loads the scripts once the page is painted: to ask for that many takes longer than to paint. It is no module: those wait.
(() => {
  let loaded = false;
  const load = () => {
    const scripts = document.getElementById('scripts');
    if (loaded || !(scripts instanceof HTMLTemplateElement)) return;
    loaded = true;
    scripts.content.querySelector('script')?.addEventListener('error', () => {
      const note = document.querySelector('main .loading');
      if (!note) return;
      note.className = 'note bad';
      note.removeAttribute('aria-busy');
      note.setAttribute('role', 'alert');
      note.textContent = 'The console could not be loaded: the gateway was away, or has another version by now. Load this page again.';
    });
    document.head.append(scripts.content);
  };
  requestAnimationFrame(() => setTimeout(load));
  setTimeout(load, 500); // a page that nobody sees is not painted
})();
