"""What every client of the gateway needs: the connection, and what to make of errors."""

from __future__ import annotations

import logging
import random
from datetime import timedelta

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from webhookgateway.v1.error_details_pb2 import ErrorInfo, ErrorStatus, RetryInfo

# The largest frame that is received. An event is never split, and can be twice as
# large as its body: typed and, in EVENT_VIEW_RAW, as it came. The gateway takes bodies
# of up to 16 MiB (webhooks.max_body_bytes). The rest is for headers, and for what takes
# more bytes in protobuf than in JSON.
RECEIVE_LIMIT = (2 * 16 + 4) << 20


def connect(address: str) -> grpc.aio.Channel:
    """Connects in plain text, without credentials."""
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_receive_message_length", RECEIVE_LIMIT),
            # Notices a dead connection. NOTE: the gateway closes one that pings more
            # often than every 10 s.
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            # By default gRPC stops pinging, or nearly, while the client sends nothing.
            ("grpc.http2.max_pings_without_data", 0),
            # By default gRPC waits up to 2 minutes before it connects again.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 5_000),
        ],
    )


# Trying again does not help.
PERMANENT = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


def temporary(error: grpc.aio.AioRpcError) -> bool:
    """Tells whether it helps to try again."""
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return retry_delay(error) > 0  # otherwise a frame is larger than RECEIVE_LIMIT
    return error.code() not in PERMANENT


def detail(error: grpc.aio.AioRpcError, name: str) -> bytes:
    """Returns a detail of an error, or nothing: an empty message."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for found in ErrorStatus.FromString(value).details:
                if found.type_url.endswith("/google.rpc." + name):
                    return found.value
    return b""


def retry_delay(error: grpc.aio.AioRpcError) -> float:
    """Returns how many seconds the gateway asks to wait, 0 if it does not ask."""
    return RetryInfo.FromString(detail(error, "RetryInfo")).retry_delay.ToTimedelta().total_seconds()


def explain(error: grpc.aio.AioRpcError) -> str:
    """Returns what happened: the status, the stable reason, and what it is about."""
    info = ErrorInfo.FromString(detail(error, "ErrorInfo"))
    return f"{error.code().name} {info.reason}: {error.details()} {dict(info.metadata) or ''}".rstrip()


def backoff(failures: int, at_least: float, why: str) -> float:
    """Returns how many seconds to wait after so many failures in a row."""
    wait = min(0.1 * 2 ** min(failures, 10), 30)
    wait = max(wait, at_least) + random.uniform(0, wait)  # spreads the clients
    logging.info("again in %.1f s: %s", wait, why)
    return wait


def seconds(number: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=number))
    return duration
