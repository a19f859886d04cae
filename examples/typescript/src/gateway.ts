// What every client of the gateway needs: the connection, streams that do not fall
// silent, and what to make of errors.

import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { ErrorInfoSchema, RetryInfoSchema } from "./gen/webhookgateway/v1/error_details_pb.js";

/**
 * The largest frame that is received, in bytes. An event is never split, and can be
 * twice as large as its body: typed and, in EVENT_VIEW_RAW, as it came. The gateway
 * takes bodies of up to 16 MiB (webhooks.max_body_bytes). The rest is for headers, and
 * for what takes more bytes in protobuf than in JSON.
 */
export const receiveLimit = (2 * 16 + 4) * 1024 * 1024;

/** Connects when it is used, in plain text and without credentials. */
export function connect(address: string): Transport {
  return createGrpcTransport({
    baseUrl: `http://${address}`,
    readMaxBytes: receiveLimit,
    // Notices a dead connection. NOTE: the gateway closes one that pings more often than
    // every 10 s.
    pingIntervalMs: 20_000,
    pingTimeoutMs: 10_000,
  });
}

/**
 * Gives the frames of a stream, and ends one that is open and says nothing for so many
 * milliseconds. The time that is taken between two frames is not the gateway's.
 */
export async function* watched<T>(open: (signal: AbortSignal) => AsyncIterable<T>, silence: number, stop: AbortSignal): AsyncGenerator<T> {
  const ended = new AbortController();
  const watch = () => setTimeout(() => ended.abort(new ConnectError("nothing came for three heartbeat intervals", Code.Unavailable)), silence);
  let watchdog = watch();
  try {
    for await (const frame of open(AbortSignal.any([stop, ended.signal]))) {
      clearTimeout(watchdog);
      yield frame;
      watchdog = watch();
    }
  } finally {
    clearTimeout(watchdog);
    ended.abort();
  }
}

// Trying again does not help.
const permanent = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.FailedPrecondition,
  Code.OutOfRange,
  Code.DataLoss,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.Unimplemented,
]);

/** Tells whether it helps to try again. */
export function temporary(error: unknown): error is ConnectError {
  if (!(error instanceof ConnectError)) {
    return false; // this program's own: the chain, the file
  }
  if (error.code === Code.ResourceExhausted) {
    return retryDelay(error) > 0; // otherwise a frame is larger than receiveLimit
  }
  return !permanent.has(error.code);
}

function detail<Desc extends DescMessage>(error: ConnectError, name: string, schema: Desc): MessageShape<Desc> | undefined {
  for (const found of error.details) {
    if ("type" in found && found.type === `google.rpc.${name}`) {
      return fromBinary(schema, found.value);
    }
  }
  return undefined;
}

/** Returns how many milliseconds the gateway asks to wait, 0 if it does not ask. */
export function retryDelay(error: ConnectError): number {
  const delay = detail(error, "RetryInfo", RetryInfoSchema)?.retryDelay;
  return delay ? durationMs(delay) : 0;
}

/** Returns what happened: the status, the stable reason, and what it is about. */
export function explain(error: unknown): string {
  if (!(error instanceof ConnectError)) {
    return String(error);
  }
  const info = detail(error, "ErrorInfo", ErrorInfoSchema);
  return [Code[error.code], info?.reason, error.rawMessage, info && JSON.stringify(info.metadata)].filter(Boolean).join(" ");
}

/** Returns how many milliseconds to wait after so many failures in a row. */
export function backoff(failures: number, atLeast: number, why: unknown): number {
  const exponential = Math.min(100 * 2 ** Math.min(failures, 10), 30_000);
  const wait = Math.max(exponential, atLeast) * (1 + Math.random()); // spreads the clients
  console.error(`again in ${Math.round(wait)} ms: ${explain(why)}`);
  return wait;
}
