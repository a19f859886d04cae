// A client that is generated from the OpenAPI documents, tried on a running gateway:
// a delivery, calls with typed answers, and a stream that is read line by line.
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths as Internal, components } from "./internal.js";
import type { paths as Webhooks } from "./webhooks.js";

const [webhooksURL, internalURL] = process.argv.slice(2);
const webhooks = createClient<Webhooks>({ baseUrl: webhooksURL });
const internal = createClient<Internal>({ baseUrl: internalURL });

// The example of the document is a delivery.
const document = JSON.parse(readFileSync("webhooks.openapi.json", "utf8"));
const operation = document.paths["/v1/webhooks/{provider}"].post;
const body = operation.requestBody.content["application/json"].examples["vezgo.SyncAccount"].value;
const delivered = await webhooks.POST("/v1/webhooks/{provider}", {
  params: { path: { provider: "vezgo" }, header: { "X-Client-Id": "dev" } },
  body,
});
assert.equal(delivered.response.status, 200);

const list = await internal.POST("/v1/events:list", {
  body: { filters: [{ eventTypes: ["EVENT_TYPE_VEZGO_SYNC_ACCOUNT"] }], newestFirst: true, pageSize: 1 },
});
const event: components["schemas"]["webhookgateway.v1.Event"] | undefined = list.data?.events?.[0];
assert.equal(event?.vezgo?.user?.id, body.user.id);

const missing = await internal.GET("/v1/subscriptions/{name}", { params: { path: { name: "missing" } } });
assert.equal(missing.error?.error.reason, "SUBSCRIPTION_NOT_FOUND");

const stream = await internal.POST("/v1/events:subscribe", {
  body: { startPosition: "START_POSITION_EARLIEST", stopAtHead: true },
  parseAs: "stream",
});
assert.ok(stream.data);
let text = "";
for await (const chunk of stream.data as unknown as AsyncIterable<Uint8Array>) text += new TextDecoder().decode(chunk);
const frames = text.trim().split("\n").map((line) => JSON.parse(line) as components["schemas"]["webhookgateway.v1.SubscribeResponse"]);
assert.ok(frames[0]?.subscribed?.startCursor !== undefined);
assert.ok(frames.some((frame) => frame.events?.events?.some((e) => e.id === event?.id)));
console.log(`TypeScript: ${frames.length} frames, event ${event?.id}`);
