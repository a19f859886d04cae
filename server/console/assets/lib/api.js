// Calls of the REST API.
import { learn } from './clock.js';
import { forget, token } from './token.js';
import { hintOf } from './words.js';

/** An error that the gateway answered, or that it could not be asked. */
export class ApiError extends Error {
  /** @param {number} status 0: there was no answer @param {string} reason @param {string} message @param {Record<string, string>} [metadata] */
  constructor(status, reason, message, metadata = {}) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.metadata = metadata;
  }

  /** What to do about it, in plain words. Empty: the message says it. */
  get hint() { return hintOf(this.reason); }

  /** Whether the caller was not granted what it asked for. */
  get denied() { return this.reason === 'NOT_GRANTED'; }

  /** Whether what was asked for may have been done all the same. */
  get unsure() { return this.status === 0 || this.status >= 500; }
}

/** The headers of every call. @returns {Record<string, string>} */
export const headers = () => (token.value ? { Authorization: `Bearer ${token.value}` } : {});

/** Reads the error of an answer. @param {Response} answer @returns {Promise<ApiError>} */
export async function readError(answer) {
  try {
    const { error } = await answer.json();
    return new ApiError(answer.status, error.reason ?? '', error.message ?? `The gateway answered ${answer.status}.`, error.metadata);
  } catch {
    return new ApiError(answer.status, '', `The gateway answered ${answer.status}, without a reason.`);
  }
}

/** @param {unknown} error @returns {ApiError} */
export function asApiError(error) {
  if (error instanceof ApiError) return error;
  return new ApiError(0, 'NO_ANSWER', 'The gateway cannot be reached.');
}

/** How long an answer is waited for, in milliseconds. A connection that the network has lost says nothing. */
const PATIENCE = 30_000;

/**
 * @param {'GET' | 'POST'} method @param {string} path
 * @param {{body?: unknown, signal?: AbortSignal | undefined}} [options]
 * @returns {Promise<any>} the answer's JSON
 */
async function call(method, path, { body, signal } = {}) {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new ApiError(0, 'NO_ANSWER', `The gateway did not answer within ${PATIENCE / 1000} seconds.`)), PATIENCE);
  try {
    return await answered(method, path, body, signal ? AbortSignal.any([signal, late.signal]) : late.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string} method @param {string} path @param {unknown} body @param {AbortSignal} signal */
async function answered(method, path, body, signal) {
  const asked = Date.now();
  const sent = token.value;
  const answer = await fetch(path, {
    method, signal, cache: 'no-store', credentials: 'same-origin', redirect: 'error',
    headers: { ...headers(), ...(body !== undefined && { 'Content-Type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  learn(answer, asked);
  if (answer.ok) return answer.json();
  const error = await readError(answer);
  signal.throwIfAborted();
  // Who signed in meanwhile has another one.
  if (answer.status === 401 && token.value === sent) forget(error);
  throw error;
}

/** @param {string} path @param {AbortSignal} [signal] */
export const get = (path, signal) => call('GET', path, { signal });

/** @param {string} path @param {unknown} body @param {AbortSignal} [signal] */
export const post = (path, body, signal) => call('POST', path, { body, signal });

/** A path with a query, without what is empty. @param {string} path @param {Record<string, string | string[] | number | undefined>} query */
export function withQuery(path, query) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== '') params.append(name, String(one));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}
