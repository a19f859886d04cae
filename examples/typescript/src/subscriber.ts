// Keeps count of what happens to accounts. It is a whole consumer of the gateway: it
// survives restarts of itself and of the gateway, and counts every event exactly once,
// because it stores its cursor together with the counts.
//
//   node dist/subscriber.js --address localhost:9090 --state counts.json

import { readFile, rename, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";

import * as gateway from "./gateway.js";
import { type Event, EventType, GapReason, StartPosition } from "./gen/webhookgateway/v1/event_pb.js";
import { EventService, ExpiredPolicy, type SubscribeResponse } from "./gen/webhookgateway/v1/event_service_pb.js";

const filters = [{ eventTypes: [EventType.FINICITY_ADDED, EventType.VEZGO_SYNC_ERROR] }]; // no filter is every event

const onExpired = {
  /** End with OUT_OF_RANGE when events that were not read yet are gone. */
  fail: ExpiredPolicy.FAIL,
  /** Go on after a gap. Somebody should be told of it. */
  earliest: ExpiredPolicy.EARLIEST,
};

/** The effect of all events up to the cursor. */
interface State {
  cursor: string;
  counts: Record<string, number>;
}

export class Subscriber {
  private failures = 0; // since the last frame
  private retryAfter = 0; // ms, if the gateway said goodbye
  private state: State = { cursor: "", counts: {} };

  constructor(
    private readonly client: Client<typeof EventService>,
    private readonly file: string,
    private readonly policy: keyof typeof onExpired = "fail",
    private readonly heartbeatMs = 10_000,
  ) {}

  /** Streams until it is told to stop, or until trying again would not help. */
  async run(stop: AbortSignal): Promise<void> {
    await this.load();
    while (!stop.aborted) {
      try {
        await this.stream(stop);
        return; // a stop that was asked for: here there is none
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

  private async stream(stop: AbortSignal): Promise<void> {
    this.retryAfter = 0;
    const { cursor } = this.state;
    const request = {
      filters,
      start: cursor
        ? { case: "startCursor" as const, value: cursor }
        : { case: "startPosition" as const, value: StartPosition.EARLIEST },
      onExpired: onExpired[this.policy],
      heartbeatInterval: durationFromMs(this.heartbeatMs),
    };
    for await (const frame of gateway.watched((signal) => this.client.subscribe(request, { signal }), 3 * this.heartbeatMs, stop)) {
      this.failures = 0;
      await this.take(frame);
    }
  }

  /** Checks that a frame begins where the one before it ended, and stores its effect. */
  private async take({ frame }: SubscribeResponse): Promise<void> {
    let from: string, to: string;
    switch (frame.case) {
      case "subscribed":
        from = to = frame.value.startCursor;
        break;
      case "events":
        from = frame.value.afterCursor;
        to = frame.value.events.at(-1)!.cursor;
        break;
      case "gap":
        from = frame.value.fromCursor;
        to = frame.value.toCursor;
        console.error(`events after ${from} up to ${to} are lost: ${GapReason[frame.value.reason]}`);
        break;
      case "heartbeat":
      case "caughtUp":
      case "fellBehind":
      case "goodbye":
        from = frame.value.afterCursor;
        to = frame.value.cursor;
        break;
      default: // of a newer gateway: ignore what you do not know
        return;
    }
    if (this.state.cursor !== "" && from !== this.state.cursor) {
      throw new Error(`events are missing: the last cursor was ${this.state.cursor}, and the next frame begins at ${from}`);
    }
    if (frame.case === "goodbye" && frame.value.retryAfter) {
      this.retryAfter = durationMs(frame.value.retryAfter);
    }
    if (frame.case === "events") {
      frame.value.events.forEach((event) => this.count(event));
    }
    if (to !== this.state.cursor) {
      this.state.cursor = to;
      await this.store();
    }
  }

  /** The work of this example. */
  private count(event: Event): void {
    const add = (name: string, more: number) => {
      this.state.counts[name] = (this.state.counts[name] ?? 0) + more;
    };
    const { payload } = event;
    if (event.type === EventType.FINICITY_ADDED && payload.case === "finicity" && payload.value.event.case === "added") {
      add(`${event.clientId}: accounts added`, payload.value.event.value.accounts.length);
    } else if (event.type === EventType.VEZGO_SYNC_ERROR) {
      add(`${event.clientId}: syncs failed`, 1);
    }
    if (event.decodeError !== "") {
      // The raw body has what the payload lacks: EVENT_VIEW_RAW.
      console.error(`${event.id}: the payload is not complete: ${event.decodeError}`);
    }
  }

  private async load(): Promise<void> {
    try {
      this.state = JSON.parse(await readFile(this.file, "utf8"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
        throw error;
      }
    }
  }

  /**
   * Writes the counts and the cursor in one step: a crash leaves the old state or the
   * new one, never a part of each. With a database it is one transaction.
   */
  private async store(): Promise<void> {
    await writeFile(`${this.file}.new`, JSON.stringify(this.state), { flush: true });
    await rename(`${this.file}.new`, this.file);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      address: { type: "string", default: "localhost:9090" },
      state: { type: "string", default: "counts.json" },
      "on-expired": { type: "string", default: "fail" },
    },
  });
  const policy = values["on-expired"];
  if (policy !== "fail" && policy !== "earliest") {
    throw new Error(`--on-expired is ${policy}: give fail or earliest`);
  }
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort()).once("SIGINT", () => stop.abort());
  const client = createClient(EventService, gateway.connect(values.address));
  await new Subscriber(client, values.state, policy).run(stop.signal);
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
