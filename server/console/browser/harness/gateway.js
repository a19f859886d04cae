// A gateway of the real binary, and its providers.
import { spawn } from 'node:child_process';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** The binary that is tested: see `make console-check`. */
const binary = process.env.GATEWAY ?? new URL('../../../../bin/webhook-gateway', import.meta.url).pathname;

const SECRET = 'a partner secret for tests';
const serving = /msg="the gateway is serving" webhooks=(\S+) grpc=(\S+) internal_http=(\S+)/;

/**
 * What a caller may, as in the configuration.
 * @typedef {Record<string, unknown>} Grant
 */

/** @typedef {{grants?: Record<string, Grant>, actions?: boolean, config?: Record<string, unknown>}} Options */

/** Connections are kept, so that a flood does not run out of ports. */
const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });

export class Gateway {
  /** @type {import('node:child_process').ChildProcess | undefined} */ process;
  /** Addresses: they stay the same over restarts. */
  webhooks = '127.0.0.1:0';
  grpc = '127.0.0.1:0';
  internal = '127.0.0.1:0';
  /** What it logged, for those who look for a failure. */
  log = '';
  /** Tokens by the names of their grants. @type {Record<string, string>} */ tokens = {};
  /** What is sent by default with calls. @type {string | undefined} */ token;
  folder = '';

  /** @param {Options} options */
  constructor(options) {
    this.options = options;
  }

  /**
   * Starts a gateway with a store of its own.
   * @param {Options} [options]
   */
  static async start(options = {}) {
    const gateway = new Gateway(options);
    gateway.folder = await mkdtemp(join(tmpdir(), 'console-check-'));
    for (const name of Object.keys(options.grants ?? {})) gateway.tokens[name] = `whg_${randomBytes(32).toString('hex')}`;
    try {
      await gateway.serve();
    } catch (error) {
      await gateway.stop();
      throw error;
    }
    return gateway;
  }

  /** The origin of the console. */
  get origin() {
    return `http://${this.internal}`;
  }

  #config() {
    const access = this.options.grants && {
      grants: this.options.grants,
      tokens: Object.fromEntries(Object.entries(this.tokens).map(([name, token]) => [name,
        { sha256: createHash('sha256').update(token).digest('hex'), grants: [name] }])),
    };
    return {
      listen: { webhooks: this.webhooks, grpc: this.grpc, internal_http: this.internal },
      store: { pebble: { path: join(this.folder, 'data') } },
      providers: {
        finicity: {
          enabled: true,
          clients: {
            acme: { secrets: { '2026-11': 'env:CONSOLE_SECRET' } },
            globex: { secrets: { '2026-10': 'env:CONSOLE_SECRET' } },
            report: { secrets: { main: 'env:CONSOLE_SECRET' }, verification: 'report' },
          },
        },
        vezgo: { enabled: true, clients: ['vezgo-app'], source_addresses: ['127.0.0.0/8'] },
      },
      webhooks: { stored_headers: ['X-Session'] },
      shutdown: { delay: '0s' },
      console: { actions: this.options.actions ?? false },
      ...(access && { access }),
      ...this.options.config,
    };
  }

  /** Starts the process, again with the same store and addresses. */
  async serve() {
    const config = join(this.folder, 'gateway.yaml');
    await writeFile(config, JSON.stringify(this.#config())); // JSON is YAML
    const started = spawn(binary, ['serve', '--config', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, CONSOLE_SECRET: SECRET },
    });
    this.process = started;
    const lines = createInterface({ input: /** @type {import('node:stream').Readable} */ (started.stderr) });
    await new Promise((resolve, reject) => {
      started.on('error', reject);
      started.on('exit', (code) => reject(new Error(`the gateway ended with ${code}:\n${this.log}`)));
      lines.on('line', (line) => {
        this.log = `${this.log}${line}\n`.slice(-100_000);
        const match = serving.exec(line);
        if (!match) return;
        [, this.webhooks, this.grpc, this.internal] = /** @type {any} */ (match);
        resolve(undefined);
      });
    });
  }

  /** Ends the process, by a signal. @param {NodeJS.Signals} signal */
  async end(signal) {
    const ended = this.process;
    this.process = undefined;
    if (!ended || ended.exitCode !== null || ended.signalCode !== null) return;
    const exit = once(ended, 'exit');
    ended.kill(signal);
    await exit;
  }

  /** Ends the process and removes its store. */
  async stop() {
    await this.end('SIGTERM');
    await rm(this.folder, { recursive: true, force: true });
  }

  /**
   * Calls the REST API as whoever has the token.
   * @param {string} method @param {string} path @param {unknown} [body] @param {string} [token]
   * @returns {Promise<any>}
   */
  async call(method, path, body, token = this.token) {
    const answer = await fetch(this.origin + path, {
      method,
      headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : {};
  }

  /** The metrics of a name, by their labels as they stand. @param {string} name @returns {Promise<Map<string, number>>} */
  async metrics(name) {
    const answer = await fetch(`${this.origin}/metrics`, { headers: this.token ? { Authorization: `Bearer ${this.token}` } : {} });
    const found = new Map();
    for (const line of (await answer.text()).split('\n')) {
      const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)/.exec(line);
      if (match && match[1] === name) found.set(match[2] ?? '', Number(match[3]));
    }
    return found;
  }

  /**
   * Delivers as a provider does, and returns the status.
   * @param {string} path @param {string | Buffer} body @param {Record<string, string>} headers
   * @returns {Promise<number>}
   */
  post(path, body, headers) {
    return new Promise((resolve, reject) => {
      const [host, port] = this.webhooks.split(':');
      const request = http.request({ agent, host, port, path, method: 'POST', headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), ...headers } }, (answer) => {
        answer.resume();
        answer.on('end', () => resolve(answer.statusCode ?? 0));
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  /**
   * Delivers what Finicity sends, signed.
   * @param {object | string} event the body, or what differs from a started
   * @param {{client?: string, headers?: Record<string, string>}} [options]
   */
  async finicity(event, { client = 'acme', headers = {} } = {}) {
    const body = typeof event === 'string' ? event : JSON.stringify(finicityBody(event));
    const status = await this.post(`/v1/webhooks/finicity/${client}`, body, { 'X-Finicity-Signature': sign(body), ...headers });
    if (status !== 200) throw new Error(`Finicity was answered ${status}`);
  }

  /** Delivers what Vezgo sends. @param {object} event what differs from a SyncAccount */
  async vezgo(event) {
    const body = JSON.stringify({ hook: 'SyncAccount', user: { id: 'vezgo-user-1', loginName: 'user-42' }, account: { id: 'account-1', provider: 'coinbase' }, ...event });
    const status = await this.post('/v1/webhooks/vezgo', body, { 'X-Client-Id': 'vezgo-app' });
    if (status !== 200) throw new Error(`Vezgo was answered ${status}`);
  }

  /**
   * Delivers events at a rate, until it is told to stop.
   * @param {number} perSecond
   * @param {(n: number) => object} [event] what the nth differs by
   */
  flood(perSecond, event = (n) => ({ eventType: 'mfa', customerId: `customer-${n % 50}` })) {
    let sent = 0;
    let stopped = false;
    const began = performance.now();
    const lanes = Array.from({ length: 16 }, async () => {
      while (!stopped) {
        const due = ((performance.now() - began) / 1000) * perSecond;
        if (sent >= due) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          continue;
        }
        sent++;
        await this.finicity(event(sent));
      }
    });
    return {
      /** Ends the flood, and returns how many events were delivered. */
      stop: async () => {
        stopped = true;
        await Promise.all(lanes);
        return { sent, perSecond: sent / ((performance.now() - began) / 1000) };
      },
    };
  }

  /**
   * A stream of lines of JSON, which is read only when it is asked for the next.
   * @param {string} path @param {unknown} body
   */
  async stream(path, body) {
    const abort = new AbortController();
    const answer = await fetch(this.origin + path, {
      method: 'POST', signal: abort.signal, body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', ...(this.token && { Authorization: `Bearer ${this.token}` }) },
    });
    if (!answer.ok || !answer.body) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    const frames = lines(/** @type {any} */ (answer.body));
    return { next: async () => (await frames.next()).value, close: () => abort.abort() };
  }
}

/** @param {AsyncIterable<Uint8Array>} body @returns {AsyncGenerator<any>} */
async function* lines(body) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}

let count = 0;

/** The body of an event of Finicity. @param {object} event */
export const finicityBody = (event) => ({
  customerId: '7000000001', eventType: 'started', eventId: `1700000000000-${String(++count).padStart(24, '0')}`, payload: {}, ...event,
});

/** The signature of Finicity. @param {string} body */
export const sign = (body, secret = SECRET) => createHmac('sha256', secret).update(body).digest('hex');
