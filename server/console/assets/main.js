// The console.
import { render } from 'preact';
import { App } from './app.js';
import { loadCaller } from './lib/caller.js';
import { html } from './lib/html.js';
import { follow } from './lib/router.js';

const root = document.getElementById('app');
if (root) {
  follow();
  void loadCaller();
  render(html`<${App} />`, root);
}
