// The colours that were chosen in this browser, before anything is drawn, and the choice, which waits for no script. It is no module: those wait.
(() => {
  const key = 'whg-theme';
  const root = document.documentElement;
  try {
    const chosen = localStorage.getItem(key);
    if (chosen === 'light' || chosen === 'dark') root.dataset.theme = chosen;
  } catch {
    // Without storage the browser's scheme holds.
  }
  const find = () => document.querySelector('.theme select');
  document.addEventListener('DOMContentLoaded', () => {
    const found = find();
    if (found instanceof HTMLSelectElement) found.value = root.dataset.theme ?? '';
  });
  document.addEventListener('change', ({ target }) => {
    if (!(target instanceof HTMLSelectElement) || target !== find()) return;
    if (target.value) root.dataset.theme = target.value;
    else delete root.dataset.theme;
    try {
      if (target.value) localStorage.setItem(key, target.value);
      else localStorage.removeItem(key);
    } catch {
      // Then it lasts until the page is loaded again.
    }
  });
})();
