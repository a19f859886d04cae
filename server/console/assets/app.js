// The frame of all pages, and which page is at which path.
import { useEffect } from 'preact/hooks';
import { caller, callerError, loadCaller, readsEvents, usesSubscriptions } from './lib/caller.js';
import { html } from './lib/html.js';
import { path } from './lib/router.js';
import { signInNeeded } from './lib/token.js';
import { EventPage } from './pages/event.js';
import { Find } from './pages/find.js';
import { Live } from './pages/live.js';
import { Overview } from './pages/overview.js';
import { Refused } from './pages/refused.js';
import { Sessions } from './pages/sessions.js';
import { SubscriptionPage } from './pages/subscription.js';
import { Subscriptions } from './pages/subscriptions.js';
import { Streams } from './pages/streams.js';
import { Navigation } from './parts/navigation.js';
import { Page } from './parts/page.js';
import { SignIn } from './parts/signin.js';
import { Shortcuts } from './parts/shortcuts.js';
import { Failure, Loading, NotGranted } from './parts/states.js';

/** @typedef {import('./lib/types.js').Caller} Caller */

/** @type {Record<string, {title: string, page: () => import('./lib/html.js').VNode, allowed: (who: Caller) => boolean, needs: string}>} */
const pages = {
  '': { title: 'Overview', page: Overview, allowed: (who) => Boolean(who.operator), needs: 'a grant with operator: true' },
  live: { title: 'Live', page: Live, allowed: readsEvents, needs: 'a grant to read events' },
  find: { title: 'Find', page: Find, allowed: readsEvents, needs: 'a grant to read events' },
  sessions: { title: 'Sessions', page: Sessions, allowed: readsEvents, needs: 'a grant to read events' },
  refused: { title: 'Refused', page: Refused, allowed: (who) => Boolean(who.operator), needs: 'a grant with operator: true' },
  subscriptions: { title: 'Subscriptions', page: Subscriptions, allowed: usesSubscriptions, needs: 'a grant of subscriptions' },
  streams: { title: 'Streams', page: Streams, allowed: (who) => Boolean(who.operator), needs: 'a grant with operator: true' },
};

/** The page at the path. @param {Caller} who */
function pageAt(who) {
  const at = path.value.replace(/\/$/, '');
  const [first = '', rest] = at.split('/');
  const found = pages[at];
  if (found) {
    if (found.allowed(who)) return html`<${found.page} key=${at} />`;
    return html`<${Page} title=${found.title}><${NotGranted} needs=${found.needs} who=${who.name} /></${Page}>`;
  }
  const name = decode(rest);
  if (first === 'events' && name) {
    if (readsEvents(who)) return html`<${EventPage} key=${at} id=${name} />`;
    return html`<${Page} title="Event"><${NotGranted} needs="a grant to read events" who=${who.name} /></${Page}>`;
  }
  if (first === 'subscriptions' && name) {
    if (usesSubscriptions(who)) return html`<${SubscriptionPage} key=${at} name=${name} />`;
    return html`<${Page} title=${name}><${NotGranted} needs="a grant of this subscription" who=${who.name} /></${Page}>`;
  }
  return html`<${Page} title="Not found"><p class="empty">There is no such page. Choose one of the navigation.</p></${Page}>`;
}

/** @param {string | undefined} text */
function decode(text) {
  try {
    return decodeURIComponent(text ?? '');
  } catch {
    return '';
  }
}

export function App() {
  // The gateway may have been away when the page was opened.
  useEffect(() => {
    if (!callerError.value) return undefined;
    const timer = setTimeout(() => void loadCaller(), 3000);
    return () => clearTimeout(timer);
  }, [callerError.value]);
  const who = caller.value;
  if (signInNeeded.value) return html`<${SignIn} why=${signInNeeded.value} />`;
  return html`
    <a class="skip" href="#main">Skip to the page</a>
    <div class="shell">
      <${Navigation} who=${who} />
      <main id="main" tabindex="-1">
        ${who ? pageAt(who)
          : callerError.value ? html`<${Page} title="webhook-gateway"><${Failure} error=${callerError.value} retry=${() => void loadCaller()} again /></${Page}>`
          : html`<${Page} title="webhook-gateway"><${Loading} what="who you are" /></${Page}>`}
      </main>
    </div>
    <${Shortcuts} />`;
}
