// Loads the scripts once the page is painted: to ask for that many takes longer than to paint. It is no module: those wait.
(() => {
  let loaded = false;
  const load = () => {
    const scripts = document.getElementById('scripts');
    if (loaded || !(scripts instanceof HTMLTemplateElement)) return;
    loaded = true;
    const main = scripts.content.querySelector('script');
    main?.addEventListener('error', () => tell('The console could not be loaded: the gateway was away, or has another version by now. Load this page again.'));
    // What goes wrong until all of them ran, as an older browser does not know what they use.
    const broken = () => tell('The console does not work in this browser, which may be too old for it. Use a newer one, or the command webhook-gateway.');
    addEventListener('error', broken);
    main?.addEventListener('load', () => removeEventListener('error', broken));
    document.head.append(scripts.content);
  };
  const tell = (/** @type {string} */ what) => {
    const note = document.querySelector('main .loading');
    if (!note) return;
    note.className = 'note bad';
    note.removeAttribute('aria-busy');
    note.setAttribute('role', 'alert');
    note.textContent = what;
  };
  requestAnimationFrame(() => setTimeout(load));
  setTimeout(load, 500); // a page that nobody sees is not painted
})();
