// Numbers, times and names for people.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** A number of 64 bits, which may be absent. @param {string | number | undefined} value */
export const int = (value) => Number(value ?? 0);

/** `12,345`. @param {string | number | undefined} value */
export const count = (value) => whole.format(int(value));

/** `1 event`, `2 events`. @param {string | number | undefined} value @param {string} one @param {string} [many] */
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${int(value) === 1 ? one : many}`;

/** `0.53`, `12.4`, `1,234`: three digits or so. @param {number} value */
export function short(value) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  return size >= 100 || size === 0 || Number.isInteger(value) ? whole.format(value) : String(Number(value.toPrecision(size >= 10 ? 3 : 2)));
}

/** `1.5 MiB`. @param {string | number | undefined} value */
export function bytes(value) {
  let n = int(value);
  if (!Number.isFinite(n)) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit++; }
  return `${short(n)} ${units[unit]}`;
}

/** Seconds of a duration of the API, such as `1.5s`. @param {string | undefined} value */
export const seconds = (value) => (value === undefined ? NaN : parseFloat(value));

/** `350 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`. @param {number} s seconds @returns {string} */
export function duration(s) {
  if (!Number.isFinite(s)) return '–';
  if (s < 0) return `−${duration(-s)}`;
  if (s < 0.001) return s === 0 ? '0 s' : `${short(Math.round(s * 1e7) / 10)} µs`;
  if (s < 1) return `${short(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? short(Math.round(s * 10) / 10) : Math.round(s)} s`;
  const [big, bigName, small, smallName] = s < 3600 ? [60, 'min', 1, 's'] : s < 86400 ? [3600, 'h', 60, 'min'] : [86400, 'd', 3600, 'h'];
  const first = Math.floor(s / big);
  const second = Math.floor((s - first * big) / small);
  return second > 0 && first < 100 ? `${first} ${bigName} ${second} ${smallName}` : `${first} ${bigName}`;
}

/** `2026-11-27 02:03:04.567` in UTC. @param {string | undefined} time @param {{millis?: boolean}} [options] */
export function utc(time, { millis = true } = {}) {
  const date = new Date(time ?? NaN);
  if (Number.isNaN(date.getTime())) return '–';
  return date.toISOString().replace('T', ' ').slice(0, millis ? 23 : 19);
}

/** `02:03:04.567` in UTC. @param {string | undefined} time */
export const clock = (time) => utc(time).slice(11) || '–';

/** `3 min ago`. @param {string | undefined} time @param {number} now in milliseconds */
export function ago(time, now) {
  const at = Date.parse(time ?? '');
  if (Number.isNaN(at)) return 'never';
  const s = (now - at) / 1000;
  if (s < 0) return s > -5 ? 'now' : `in ${duration(Math.round(-s))}`;
  return s < 1 ? 'now' : `${duration(Math.floor(s)).split(' ').slice(0, 2).join(' ')} ago`;
}

/** The value of `datetime-local` as a time in UTC, or empty. @param {string} value */
export function fromField(value) {
  if (!value) return '';
  const date = new Date(/Z$/.test(value) ? value : `${value}Z`);
  return Number.isNaN(date.getTime()) ? '' : date.toISOString();
}

/** Bytes of base64. @param {string | undefined} text */
export function decode64(text) {
  const binary = atob(text ?? '');
  const data = new Uint8Array(binary.length);
  for (let i = 0; i < data.length; i++) data[i] = binary.charCodeAt(i);
  return data;
}
