// Charts of what was measured, as SVG with a text.
import { duration } from '../lib/format.js';
import { html } from '../lib/html.js';

/** @typedef {{label: string, values: number[], tone?: string, dashed?: boolean}} Line */

const WIDTH = 600;
const HEIGHT = 120;

/** A number that is not known is NaN. @param {(number | string)[] | undefined} values */
export const numbers = (values) => (values ?? []).map((v) => (typeof v === 'number' ? v : Number(v)));

/** The highest mark of a scale that shows a value. @param {number} most @param {boolean} binary @returns {number} */
function ceiling(most, binary) {
  if (!(most > 0)) return 1;
  if (binary) {
    const unit = 1024 ** Math.floor(Math.log(most) / Math.log(1024));
    return ceiling(most / unit, false) * unit;
  }
  const power = 10 ** Math.floor(Math.log10(most));
  return ([1, 2, 5, 10].find((m) => m * power >= most) ?? 10) * power;
}

/** @param {number[]} values @param {number} top */
function points(values, top) {
  const step = values.length > 1 ? WIDTH / (values.length - 1) : 0;
  let d = '';
  let drawn = false;
  values.forEach((v, i) => {
    if (!Number.isFinite(v)) { drawn = false; return; }
    const x = (i * step).toFixed(1);
    const y = (HEIGHT - (Math.min(v, top) / top) * HEIGHT).toFixed(1);
    const alone = !drawn && !Number.isFinite(values[i + 1] ?? NaN);
    d += drawn ? `L${x} ${y}` : alone ? `M${x} ${y}h0.1` : `M${x} ${y}`;
    drawn = true;
  });
  return d;
}

/**
 * @param {{title: string, lines: Line[], format: (value: number) => string, minutes: number, now?: string, empty?: string, binary?: boolean, link?: unknown}} props
 *   now: what is shown beside the title, instead of the newest values
 */
export function Chart({ title, lines, format, minutes, now, empty = 'Nothing was measured yet.', binary = false, link }) {
  const known = lines.flatMap((l) => l.values).filter(Number.isFinite);
  const most = known.reduce((a, b) => Math.max(a, b), 0);
  const top = ceiling(most, binary);
  const newest = (/** @type {Line} */ l) => l.values.findLast(Number.isFinite) ?? NaN;
  const text = known.length === 0 ? `${title}: ${empty}`
    : `${title}, the last ${duration(Math.round(minutes) * 60 || Math.round(minutes * 60))}. ${lines.map((l) => `${l.label}: now ${format(newest(l))}, at most ${format(l.values.filter(Number.isFinite).reduce((a, b) => Math.max(a, b), 0))}`).join('. ')}.`;
  return html`
    <figure class="card chart">
      <figcaption><span class="chart-title">${title}</span> <strong class="num">${known.length === 0 ? '–' : now ?? format(newest(/** @type {Line} */ (lines[0])))}</strong>${link}</figcaption>
      <div class="plot">
        <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${text}>
          <path class="grid" d=${`M0 0.5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}`} />
          ${lines.map((l, i) => html`<path key=${l.label} class=${`line tone-${l.tone ?? i} ${l.dashed ? 'dashed' : ''}`} d=${points(l.values, top)} />`)}
        </svg>
        <span class="mark top num" aria-hidden="true">${format(top)}</span><span class="mark bottom num" aria-hidden="true">0</span>
        ${known.length === 0 ? html`<span class="plot-empty" aria-hidden="true">${empty}</span>` : null}
      </div>
      <div class="chart-foot" aria-hidden="true"><span>${duration(Math.round(minutes) * 60 || Math.round(minutes * 60))} ago</span>
        <span class="legend">${lines.length > 1 ? lines.map((l, i) => html`<span key=${l.label} class=${`key tone-${l.tone ?? i} ${l.dashed ? 'dashed' : ''}`}>${l.label}</span>`) : null}</span><span>now</span></div>
    </figure>`;
}
