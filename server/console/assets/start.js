// Loads the scripts once the page is painted: to ask for that many takes longer than to paint. It is no module: those wait.
(() => {
  let loaded = false;
  const load = () => {
    const scripts = document.getElementById('scripts');
    if (loaded || !(scripts instanceof HTMLTemplateElement)) return;
    loaded = true;
    document.head.append(scripts.content);
  };
  requestAnimationFrame(() => setTimeout(load));
  setTimeout(load, 500); // a page that nobody sees is not painted
})();
