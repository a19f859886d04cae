// Is one of several workers that share a durable subscription. It acknowledges what it
// has handled, and gives back what failed. An event can come again, because an
// acknowledgement can be lost: the worker knows it by its id. Start as many as you like:
//
//   bin/webhook-gateway subscriptions create billing --from earliest
//   node dist/worker.js --subscription billing --state ledger

import { link, mkdir, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";

import * as gateway from "./gateway.js";
import { type Event, EventType, EventView, GapReason } from "./gen/webhookgateway/v1/event_pb.js";
import type { Delivery } from "./gen/webhookgateway/v1/subscription_pb.js";
import { RejectAction, SubscriptionService, TokenResult } from "./gen/webhookgateway/v1/subscription_service_pb.js";

/**
 * How many events are handled at the same time: the gateway sends no more than that
 * before some are settled.
 */
const maxInFlight = 8;

/**
 * For how many milliseconds a worker tries to settle an event. Then it gives up, and the
 * event comes again. It is less than supervisors wait after SIGTERM.
 */
const settleTime = 10_000;

/** Another attempt would not help this event: it is parked. */
export class Permanent extends Error {}

/**
 * The work of this example: keeps an account of each failed sync, as a file whose name
 * is the id of the event. So nothing is entered twice, whichever worker gets the event.
 * With a database the id has a unique key, in the transaction of the effect.
 */
export class Ledger {
  constructor(private readonly folder: string) {}

  async handle(event: Event): Promise<void> {
    if (event.decodeError !== "") {
      // No reason to refuse it: only what is named here is not in the payload, and the
      // raw body has that too.
      console.error(`${event.id}: the payload is not complete: ${event.decodeError}`);
    }
    if (event.type !== EventType.VEZGO_SYNC_ERROR || event.payload.case !== "vezgo") {
      return; // acknowledge what you do not know
    }
    const account = event.payload.value.account?.id;
    if (!account) {
      throw new Permanent("it names no account");
    }
    await this.enter(event.id, { account });
  }

  private async enter(id: string, entry: object): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    const unfinished = join(this.folder, `.${id}.${process.pid}`);
    await writeFile(unfinished, JSON.stringify(entry), { flush: true });
    try {
      await link(unfinished, join(this.folder, `${id}.json`)); // in one step, by one worker
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
        throw error;
      } // otherwise it came again: its effect is there
    } finally {
      await unlink(unfinished);
    }
  }
}

export class Worker {
  private failures = 0; // since the last frame
  private retryAfter = 0; // ms, if the gateway said goodbye

  constructor(
    private readonly client: Client<typeof SubscriptionService>,
    private readonly subscription: string,
    /** Does the work. It should end early when it is told to stop. */
    private readonly handle: (event: Event, stop: AbortSignal) => Promise<void>,
    private readonly heartbeatMs = 10_000,
  ) {}

  /** Works until it is told to stop, or until trying again would not help. */
  async run(stop: AbortSignal): Promise<void> {
    const stopped = new Promise<void>((resolve) => stop.addEventListener("abort", () => resolve()));
    while (!stop.aborted) {
      try {
        await this.stream(stopped);
      } catch (error) {
        if (stop.aborted) {
          return;
        }
        if (!gateway.temporary(error)) {
          throw error;
        }
        const wait = gateway.backoff(++this.failures, Math.max(gateway.retryDelay(error), this.retryAfter), error);
        await sleep(wait, undefined, { signal: stop }).catch(() => {});
      }
    }
  }

  /** Works until the stream breaks, or until the worker is told to stop and everything was given back. */
  private async stream(stopped: Promise<void>): Promise<void> {
    this.retryAfter = 0;
    const { subscription } = await this.client.getSubscription({ name: this.subscription }, { timeoutMs: settleTime });
    const deadline = subscription?.settings?.ackDeadline;
    const request = {
      subscription: this.subscription,
      view: EventView.RAW,
      heartbeatInterval: durationFromMs(this.heartbeatMs),
      maxInFlight,
    };
    const held = new Map<string, Promise<void>>(); // the work, by token
    const working = new AbortController();
    const open = new AbortController();
    const receive = async () => {
      for await (const { frame } of gateway.watched((signal) => this.client.consume(request, { signal }), 3 * this.heartbeatMs, open.signal)) {
        this.failures = 0;
        if (frame.case === "gap") {
          console.error(`events after ${frame.value.fromCursor} up to ${frame.value.toCursor} are lost: ${GapReason[frame.value.reason]}`);
        } else if (frame.case === "goodbye" && frame.value.retryAfter) {
          this.retryAfter = durationMs(frame.value.retryAfter);
        } else if (frame.case === "deliveries") {
          for (const delivery of frame.value.deliveries) {
            const work = this.work(delivery, working.signal).finally(() => held.delete(delivery.ackToken));
            held.set(delivery.ackToken, work);
          }
        }
      }
    };
    const extending = setInterval(() => void this.extend([...held.keys()]), deadline ? durationMs(deadline) / 2 : settleTime);
    const receiving = receive();
    try {
      await Promise.race([receiving, stopped]);
    } finally {
      // NOTE: the stream ends after the work. What a stream holds when it ends is
      // suspected of having ended it.
      working.abort();
      while (held.size > 0) {
        await Promise.all(held.values());
      }
      clearInterval(extending);
      open.abort();
      await receiving.catch(() => {}); // thrown above, or the stop
    }
  }

  /** Has a delivery handled, and tells the gateway what became of it, until it has an answer. */
  private async work(delivery: Delivery, stop: AbortSignal): Promise<void> {
    const id = delivery.event?.id;
    const tokens = { subscription: this.subscription, ackTokens: [delivery.ackToken] };
    let tell = (timeoutMs: number) => this.client.acknowledge(tokens, { timeoutMs }) as Promise<{ results: TokenResult[] }>;
    try {
      stop.throwIfAborted();
      await this.handle(delivery.event!, stop);
    } catch (error) {
      const action = stop.aborted ? RejectAction.RELEASE : error instanceof Permanent ? RejectAction.PARK : RejectAction.RETRY;
      const reason = stop.aborted ? "" : String(error).slice(0, 250); // at most 1,024 bytes
      console.error(`${id}: attempt ${delivery.attempt}: ${RejectAction[action]} ${reason}`);
      tell = (timeoutMs) => this.client.reject({ ...tokens, action, reason }, { timeoutMs });
    }
    const end = Date.now() + settleTime;
    for (let failures = 1; ; failures++) {
      try {
        const result = (await tell(end - Date.now())).results[0];
        // SETTLED: an earlier try did it, only its answer was lost.
        if (result !== TokenResult.OK && result !== TokenResult.SETTLED) {
          console.error(`${id}: it comes again, because this delivery is ${TokenResult[result ?? 0]}`);
        }
        return;
      } catch (error) {
        if (!gateway.temporary(error) || Date.now() >= end) {
          console.error(`${id}: it comes again, because it was not settled: ${gateway.explain(error)}`);
          return;
        }
        await sleep(Math.min(gateway.backoff(failures, gateway.retryDelay(error), error), end - Date.now()));
      }
    }
  }

  /** Gives the worker more time for what it holds. */
  private async extend(ackTokens: string[]): Promise<void> {
    if (ackTokens.length === 0) {
      return;
    }
    try {
      await this.client.extendDeadline({ subscription: this.subscription, ackTokens }, { timeoutMs: settleTime });
    } catch (error) {
      console.error(`deadlines were not extended: ${gateway.explain(error)}`);
    }
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      address: { type: "string", default: "localhost:9090" },
      subscription: { type: "string", default: "billing" },
      state: { type: "string", default: "ledger" },
    },
  });
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort()).once("SIGINT", () => stop.abort());
  const ledger = new Ledger(values.state);
  const client = createClient(SubscriptionService, gateway.connect(values.address));
  await new Worker(client, values.subscription, (event) => ledger.handle(event)).run(stop.signal);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  main().then(
    () => process.exit(0), // leaves no connection open
    (error) => {
      console.error(gateway.explain(error));
      process.exit(1); // trying again would only hide it
    },
  );
}
