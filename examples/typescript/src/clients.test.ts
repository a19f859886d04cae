// Tests of the examples, on a gateway whose addresses the environment has:
//
//   GATEWAY_GRPC=127.0.0.1:9090 GATEWAY_WEBHOOKS=127.0.0.1:8080 node --test dist/

import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import * as gateway from "./gateway.js";
import type { Event } from "./gen/webhookgateway/v1/event_pb.js";
import { EventService, type SubscribeResponseSchema } from "./gen/webhookgateway/v1/event_service_pb.js";
import type { SubscriptionSettingsSchema, SubscriptionStatus } from "./gen/webhookgateway/v1/subscription_pb.js";
import { SubscriptionService } from "./gen/webhookgateway/v1/subscription_service_pb.js";
import { Subscriber } from "./subscriber.js";
import { Permanent, Worker } from "./worker.js";

const long = 30_000;
const { GATEWAY_GRPC = "", GATEWAY_WEBHOOKS = "" } = process.env;

async function deliver(account: string): Promise<void> {
  const answer = await fetch(`http://${GATEWAY_WEBHOOKS}/v1/webhooks/vezgo`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Client-Id": "typescript" },
    body: JSON.stringify({ hook: "SyncError", user: { id: "u" }, account: { id: account, provider: "coinbase" }, error: "LoginFailedError" }),
  });
  assert.equal(answer.status, 200);
}

/** A subscription, and who works on it. */
class Team {
  readonly client: Client<typeof SubscriptionService> = createClient(SubscriptionService, gateway.connect(GATEWAY_GRPC));
  readonly handled: Record<string, number> = {};

  constructor(readonly name: string) {}

  async create(settings: MessageInitShape<typeof SubscriptionSettingsSchema>): Promise<void> {
    await this.client.createSubscription({ subscription: { name: this.name, settings } });
  }

  /** Starts a worker. What it returns ends it as SIGTERM does. */
  start(handle: (account: string, stop: AbortSignal) => Promise<void>): { running: Promise<void>; end: () => Promise<void> } {
    const stop = new AbortController();
    const counted = async ({ payload }: Event, stopping: AbortSignal) => {
      const account = (payload.case === "vezgo" && payload.value.account?.id) || "";
      this.handled[account] = (this.handled[account] ?? 0) + 1;
      await handle(account, stopping);
    };
    const running = new Worker(this.client, this.name, counted, 1000).run(stop.signal);
    return {
      running,
      end: () => {
        stop.abort();
        return running;
      },
    };
  }

  async waitFor(wanted: (status: SubscriptionStatus) => boolean): Promise<void> {
    for (const end = Date.now() + long; ; await sleep(20)) {
      const status = (await this.client.getSubscription({ name: this.name })).subscription!.status!;
      if (wanted(status)) {
        return;
      }
      assert.ok(Date.now() < end, `after a long time: ${JSON.stringify(status, (_, value) => (typeof value === "bigint" ? String(value) : value))}`);
    }
  }
}

const done = (status: SubscriptionStatus) => status.lagEvents + status.inFlightEvents + status.waitingEvents === 0n;

test("a worker settles, retries and parks, and keeps what takes longer than its deadline", async () => {
  const team = new Team("outcomes");
  await team.create({ ackDeadline: durationFromMs(3000), minBackoff: durationFromMs(0) });
  const worker = team.start(async (account) => {
    if (account === "bad") {
      throw new Permanent("it is bad");
    }
    if (account === "fails once" && team.handled[account] === 1) {
      throw new Error("try again");
    }
    if (account === "slow") {
      await sleep(4000);
    }
  });
  for (const account of ["good", "fails once", "bad", "slow"]) {
    await deliver(account);
  }
  await team.waitFor((status) => done(status) && status.parkedEvents === 1n);
  await worker.end();
  assert.deepEqual({ ...team.handled }, { good: 1, "fails once": 2, bad: 1, slow: 1 });
  const { parkedEvents } = await team.client.listParkedEvents({ subscription: team.name });
  assert.equal(parkedEvents[0]?.message, "Error: it is bad");
});

test("a worker that stops gives back what it holds: another gets it, as the first attempt", async () => {
  const team = new Team("stop");
  await team.create({ maxAttempts: 1 });
  const stopping = team.start((_, stopping) => sleep(long, undefined, { signal: stopping }));
  const accounts = ["1", "2", "3"];
  for (const account of accounts) {
    await deliver(account);
  }
  await team.waitFor((status) => status.inFlightEvents === 3n);
  const other = team.start(async () => {});
  await team.waitFor((status) => status.streams === 2);
  await stopping.end();
  await team.waitFor((status) => done(status) && status.parkedEvents === 0n);
  await other.end();
  assert.deepEqual({ ...team.handled }, Object.fromEntries(accounts.map((account) => [account, 2])));
});

test("a worker without its subscription ends with what the gateway said", async () => {
  const { running } = new Team("missing").start(async () => {});
  await assert.rejects(running, (error) => /^NotFound SUBSCRIPTION_NOT_FOUND /.test(gateway.explain(error)));
});

type Frame = MessageInitShape<typeof SubscribeResponseSchema>;

/** Runs a subscriber with a gateway that sends these frames in its streams, and then nothing. */
async function subscribe(t: TestContext, ...streams: Frame[][]): Promise<void> {
  const server = createServer(
    connectNodeAdapter({
      routes: (router) =>
        router.service(EventService, {
          async *subscribe(_, { signal }) {
            yield* streams.shift() ?? [];
            await sleep(long, undefined, { signal });
          },
        }),
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.on("session", (session) => t.after(() => session.destroy()));
  t.after(() => server.close());
  const transport = gateway.connect(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  const file = join(await mkdtemp(join(tmpdir(), "subscriber-")), "counts.json");
  await new Subscriber(createClient(EventService, transport), file, "fail", 500).run(AbortSignal.timeout(long));
}

const subscribed = (startCursor: string): Frame => ({ frame: { case: "subscribed", value: { startCursor } } });
const heartbeat = (afterCursor: string, cursor: string): Frame => ({ frame: { case: "heartbeat", value: { afterCursor, cursor } } });

test("a subscriber ends with an error when frames do not follow one another", async (t) => {
  const running = subscribe(t, [subscribed("c1"), heartbeat("c1", "c2"), heartbeat("c3", "c4")]);
  await assert.rejects(running, /the last cursor was c2, and the next frame begins at c3/);
});

test("a subscriber leaves a stream that is open and says nothing, and resumes", async (t) => {
  const broken = heartbeat("elsewhere", "c9"); // ends the test
  const running = subscribe(t, [subscribed("c1"), heartbeat("c1", "c2")], [subscribed("c2"), heartbeat("c2", "c3"), broken]);
  await assert.rejects(running, /the last cursor was c3/);
});
