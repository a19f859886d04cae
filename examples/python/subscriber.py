#!/usr/bin/env python3
"""Keeps count of what happens to accounts.

It is a whole consumer of the gateway: it survives restarts of itself and of the
gateway, and counts every event exactly once, because it stores its cursor in the
transaction that stores the counts.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from typing import Any

import grpc.aio
from webhookgateway.v1 import event_pb2, event_service_pb2
from webhookgateway.v1.event_service_pb2_grpc import EventServiceStub

import gateway

FILTERS = [  # no filter is every event
    event_pb2.EventFilter(event_types=[event_pb2.EVENT_TYPE_FINICITY_ADDED, event_pb2.EVENT_TYPE_VEZGO_SYNC_ERROR]),
]
ON_EXPIRED = {
    # End with OUT_OF_RANGE when events that were not read yet are gone.
    "fail": event_service_pb2.EXPIRED_POLICY_FAIL,
    # Go on after a gap. Somebody should be told of it.
    "earliest": event_service_pb2.EXPIRED_POLICY_EARLIEST,
}


class BrokenChain(Exception):
    """A frame does not begin where the one before it ended: events are missing."""


class Subscriber:
    def __init__(self, stub: EventServiceStub, database: sqlite3.Connection, on_expired: str = "fail", heartbeat: float = 10) -> None:
        self.stub = stub
        self.database = database
        self.on_expired = ON_EXPIRED[on_expired]
        self.heartbeat = heartbeat
        self.failures = 0  # since the last frame
        self.retry_after = 0.0  # seconds, if the gateway said goodbye
        database.execute("CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL)")
        database.execute("CREATE TABLE IF NOT EXISTS position (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT NOT NULL)")
        self.cursor = next((row[0] for row in database.execute("SELECT cursor FROM position")), "")

    async def run(self) -> None:
        """Streams until it is cancelled, or until trying again would not help."""
        while True:
            try:
                await self.stream()
                return  # a stop that was asked for: here there is none
            except grpc.aio.AioRpcError as error:
                if not gateway.temporary(error):
                    raise
                wait, why = gateway.retry_delay(error), gateway.explain(error)
            except TimeoutError:
                wait, why = 0.0, "nothing came for three heartbeat intervals"
            self.failures += 1
            await asyncio.sleep(gateway.backoff(self.failures, max(wait, self.retry_after), why))

    async def stream(self) -> None:
        self.retry_after = 0
        request = event_service_pb2.SubscribeRequest(
            filters=FILTERS, on_expired=self.on_expired, heartbeat_interval=gateway.seconds(self.heartbeat)
        )
        if self.cursor:
            request.start_cursor = self.cursor
        else:
            request.start_position = event_pb2.START_POSITION_EARLIEST
        call = self.stub.Subscribe(request)
        try:
            while True:
                # The watchdog ends a stream that is open and says nothing.
                frame = await asyncio.wait_for(call.read(), 3 * self.heartbeat)
                if frame is grpc.aio.EOF:
                    return
                self.failures = 0
                self.take(frame)
        finally:
            call.cancel()

    def take(self, response: event_service_pb2.SubscribeResponse) -> None:
        """Checks that a frame begins where the one before it ended, and stores its effect."""
        kind = response.WhichOneof("frame")
        frame: Any = getattr(response, kind) if kind else None
        if kind == "subscribed":
            start, end = frame.start_cursor, frame.start_cursor
        elif kind == "events":
            start, end = frame.after_cursor, frame.events[-1].cursor
        elif kind == "gap":
            start, end = frame.from_cursor, frame.to_cursor
            logging.warning("events after %s up to %s are lost: %s", start, end, event_pb2.GapReason.Name(frame.reason))
        elif kind in ("heartbeat", "caught_up", "fell_behind", "goodbye"):
            start, end = frame.after_cursor, frame.cursor
        else:  # of a newer gateway: ignore what you do not know
            return
        if self.cursor and start != self.cursor:
            raise BrokenChain(f"events are missing: the last cursor was {self.cursor}, and the next frame begins at {start}")
        if kind == "goodbye":
            self.retry_after = frame.retry_after.ToTimedelta().total_seconds()
        if end == self.cursor:
            return
        with self.database:  # one transaction: a crash leaves all of it, or nothing
            for event in frame.events if kind == "events" else ():
                self.count(event)
            self.database.execute("INSERT OR REPLACE INTO position VALUES (1, ?)", (end,))
        self.cursor = end

    def count(self, event: event_pb2.Event) -> None:
        """The work of this example."""
        if event.type == event_pb2.EVENT_TYPE_FINICITY_ADDED:
            name, more = f"{event.client_id}: accounts added", len(event.finicity.added.accounts)
        elif event.type == event_pb2.EVENT_TYPE_VEZGO_SYNC_ERROR:
            name, more = f"{event.client_id}: syncs failed", 1
        else:
            return
        if event.decode_error:  # the raw body has what the payload lacks: EVENT_VIEW_RAW
            logging.warning("%s: the payload is not complete: %s", event.id, event.decode_error)
        self.database.execute(
            "INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count", (name, more)
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description="Counts events, each once.")
    parser.add_argument("--address", default="localhost:9090", help="of the gateway")
    parser.add_argument("--state", default="counts.db", help="SQLite file with the counts and the cursor")
    parser.add_argument("--on-expired", choices=ON_EXPIRED, default="fail", help="when events are gone that were not read yet")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    async with gateway.connect(options.address) as channel:
        subscriber = Subscriber(EventServiceStub(channel), sqlite3.connect(options.state), options.on_expired)
        running = asyncio.ensure_future(subscriber.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        try:
            await running
        except asyncio.CancelledError:
            pass  # told to end
        except grpc.aio.AioRpcError as error:
            sys.exit(gateway.explain(error))  # trying again would only hide it


if __name__ == "__main__":
    asyncio.run(main())
