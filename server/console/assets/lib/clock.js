// The time by the gateway's clock: that of this machine may be wrong.

/** How far the gateway's clock is ahead of this machine's, in milliseconds, as its answers show. */
let ahead = 0;

/**
 * Learns from the Date of an answer, which is rounded down to a second. The gateway wrote it
 * between the question and now.
 * @param {Response} answer @param {number} asked when it was asked, by this machine's clock
 */
export function learn(answer, asked) {
  const date = Date.parse(answer.headers.get('Date') ?? '');
  if (!Number.isNaN(date)) ahead = Math.min(Math.max(ahead, date - Date.now()), date + 1000 - asked);
}

/** The time in milliseconds, right to a second. */
export const gatewayNow = () => Date.now() + ahead;
