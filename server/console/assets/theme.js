// Sets the scheme that was chosen before anything is drawn. It is no module: those wait.
(() => {
  try {
    const chosen = localStorage.getItem('whg-theme');
    if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
  } catch {
    // Without storage the browser's scheme holds.
  }
})();
