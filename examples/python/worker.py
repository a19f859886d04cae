#!/usr/bin/env python3
"""Is one of several workers that share a durable subscription.

It acknowledges what it has handled, and gives back what failed. An event can come
again, because an acknowledgement can be lost: the worker knows it by its id, which it
stores in the transaction of the effect. Start as many as you like:

    bin/webhook-gateway subscriptions create billing --from earliest
    python3 worker.py --subscription billing
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from time import monotonic

import grpc.aio
from webhookgateway.v1 import event_pb2, subscription_pb2, subscription_service_pb2
from webhookgateway.v1.subscription_service_pb2_grpc import SubscriptionServiceStub

import gateway

# How many events are handled at the same time: the gateway sends no more than that
# before some are settled.
MAX_IN_FLIGHT = 8
# For how many seconds a worker tries to settle an event. Then it gives up, and the event
# comes again. It is less than supervisors wait after SIGTERM.
SETTLE_TIME = 10.0


class Permanent(Exception):
    """Another attempt would not help this event: it is parked."""


class Ledger:
    """The work of this example: counts the failed syncs of each account, in SQLite."""

    def __init__(self, path: str) -> None:
        self.path = path
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS handled (event_id TEXT PRIMARY KEY)")
            database.execute("CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL)")

    async def handle(self, event: event_pb2.Event) -> None:
        if event.decode_error:
            # No reason to refuse it: only what is named here is not in the payload, and
            # the raw body has that too.
            logging.info("%s: the payload is not complete: %s", event.id, event.decode_error)
        if event.type != event_pb2.EVENT_TYPE_VEZGO_SYNC_ERROR:
            return  # acknowledge what you do not know
        if not event.vezgo.account.id:
            raise Permanent("it names no account")
        # Work that blocks has a thread: meanwhile deadlines are extended.
        await asyncio.to_thread(self.count, event.id, event.vezgo.account.id)

    def count(self, event_id: str, account: str) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:  # one transaction
            if database.execute("INSERT OR IGNORE INTO handled VALUES (?)", (event_id,)).rowcount == 0:
                return  # it came again: its effect is there
            database.execute("INSERT INTO counts VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET count = count + 1", (account,))


class Worker:
    def __init__(
        self,
        stub: SubscriptionServiceStub,
        subscription: str,
        handle: Callable[[event_pb2.Event], Awaitable[None]],
        heartbeat: float = 10,
    ) -> None:
        self.stub = stub
        self.subscription = subscription
        self.handle = handle
        self.heartbeat = heartbeat
        self.stopping = asyncio.Event()  # set it to end the worker
        self.failures = 0  # since the last frame
        self.retry_after = 0.0  # seconds, if the gateway said goodbye

    async def run(self) -> None:
        """Works until it is told to end, or until trying again would not help."""
        while not self.stopping.is_set():
            try:
                await Stream(self).run()
                continue
            except grpc.aio.AioRpcError as error:
                if not gateway.temporary(error):
                    raise
                wait, why = gateway.retry_delay(error), gateway.explain(error)
            except TimeoutError:
                wait, why = 0.0, "nothing came for three heartbeat intervals"
            self.failures += 1
            wait = gateway.backoff(self.failures, max(wait, self.retry_after), why)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), wait)


class Stream:
    """One stream of a worker, and what it holds."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.stub, self.subscription = worker.stub, worker.subscription
        self.held: dict[str, asyncio.Task[None]] = {}  # the work, by token
        self.settling: set[asyncio.Task[None]] = set()
        self.ending = False

    async def run(self) -> None:
        """Works until the stream breaks, or until the worker ends and everything was given back."""
        self.worker.retry_after = 0
        named = subscription_service_pb2.GetSubscriptionRequest(name=self.subscription)
        got = await self.stub.GetSubscription(named, timeout=SETTLE_TIME)
        deadline: float = got.subscription.settings.ack_deadline.ToTimedelta().total_seconds()
        call = self.stub.Consume(
            subscription_service_pb2.ConsumeRequest(
                subscription=self.subscription,
                view=event_pb2.EVENT_VIEW_RAW,
                heartbeat_interval=gateway.seconds(self.worker.heartbeat),
                max_in_flight=MAX_IN_FLIGHT,
            )
        )
        receiving = asyncio.create_task(self.receive(call))
        extending = asyncio.create_task(self.extend(deadline / 2))
        stopping = asyncio.create_task(self.worker.stopping.wait())
        try:
            await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # NOTE: the stream ends after the work. What a stream holds when it ends is
            # suspected of having ended it.
            self.ending = True
            for job in self.held.values():
                job.cancel()
            while self.settling:
                await asyncio.wait(self.settling)
            if receiving.done():
                receiving.result()  # raises what the stream broke with
        finally:
            for task in (receiving, extending, stopping):
                task.cancel()
            call.cancel()

    async def receive(self, call: grpc.aio.UnaryStreamCall) -> None:
        while True:
            # The watchdog ends a stream that is open and says nothing.
            frame = await asyncio.wait_for(call.read(), 3 * self.worker.heartbeat)
            if frame is grpc.aio.EOF:
                return
            self.worker.failures = 0
            if frame.HasField("gap"):
                reason = event_pb2.GapReason.Name(frame.gap.reason)
                logging.warning("events after %s up to %s are lost: %s", frame.gap.from_cursor, frame.gap.to_cursor, reason)
            if frame.HasField("goodbye"):
                self.worker.retry_after = frame.goodbye.retry_after.ToTimedelta().total_seconds()
            for delivery in frame.deliveries.deliveries:
                task = asyncio.create_task(self.settle(delivery))
                self.settling.add(task)
                task.add_done_callback(self.settling.discard)

    async def work(self, event: event_pb2.Event) -> None:
        if self.ending:
            raise asyncio.CancelledError
        await self.worker.handle(event)

    async def settle(self, delivery: subscription_pb2.Delivery) -> None:
        """Has a delivery handled, and tells the gateway what became of it."""
        event = delivery.event
        job = self.held[delivery.ack_token] = asyncio.create_task(self.work(event))
        await asyncio.wait({job})
        request = subscription_service_pb2.RejectRequest(subscription=self.subscription, ack_tokens=[delivery.ack_token])
        if job.cancelled():
            request.action = subscription_service_pb2.REJECT_ACTION_RELEASE
        elif error := job.exception():
            request.action = subscription_service_pb2.REJECT_ACTION_RETRY
            if isinstance(error, Permanent):
                request.action = subscription_service_pb2.REJECT_ACTION_PARK
            request.reason = f"{type(error).__name__}: {error}"[:250]  # at most 1,024 bytes
        if request.action:
            action = subscription_service_pb2.RejectAction.Name(request.action)
            logging.info("%s: attempt %d: %s %s", event.id, delivery.attempt, action, request.reason)
        try:
            result = await self.tell(request)
            # SETTLED: an earlier try did it, only its answer was lost.
            if result not in (subscription_service_pb2.TOKEN_RESULT_OK, subscription_service_pb2.TOKEN_RESULT_SETTLED):
                name = subscription_service_pb2.TokenResult.Name(result)
                logging.info("%s: it comes again, because this delivery is %s", event.id, name)
        except grpc.aio.AioRpcError as error:
            logging.info("%s: it comes again, because it was not settled: %s", event.id, gateway.explain(error))
        finally:
            del self.held[delivery.ack_token]

    async def tell(self, request: subscription_service_pb2.RejectRequest) -> int:
        """Rejects or, without an action, acknowledges, until there is an answer: a TokenResult."""
        end = monotonic() + SETTLE_TIME
        failures = 0
        while True:
            try:
                if request.action:
                    answer = await self.stub.Reject(request, timeout=end - monotonic(), wait_for_ready=True)
                else:
                    acknowledge = subscription_service_pb2.AcknowledgeRequest(
                        subscription=request.subscription, ack_tokens=request.ack_tokens
                    )
                    answer = await self.stub.Acknowledge(acknowledge, timeout=end - monotonic(), wait_for_ready=True)
                return int(answer.results[0])
            except grpc.aio.AioRpcError as error:
                if not gateway.temporary(error) or monotonic() >= end:
                    raise
                failures += 1
                wait = gateway.backoff(failures, gateway.retry_delay(error), gateway.explain(error))
                await asyncio.sleep(min(wait, end - monotonic()))

    async def extend(self, interval: float) -> None:
        """Gives the worker more time for what it holds."""
        while True:
            await asyncio.sleep(interval)
            if not self.held:
                continue
            request = subscription_service_pb2.ExtendDeadlineRequest(subscription=self.subscription, ack_tokens=list(self.held))
            try:
                await self.stub.ExtendDeadline(request, timeout=interval)
            except grpc.aio.AioRpcError as error:
                logging.info("deadlines were not extended: %s", gateway.explain(error))


async def main() -> None:
    parser = argparse.ArgumentParser(description="Handles the events of a subscription, each once.")
    parser.add_argument("--address", default="localhost:9090", help="of the gateway")
    parser.add_argument("--subscription", default="billing", help="its name")
    parser.add_argument("--state", default="ledger.db", help="SQLite file with the effects; workers can share it")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    async with gateway.connect(options.address) as channel:
        worker = Worker(SubscriptionServiceStub(channel), options.subscription, Ledger(options.state).handle)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.stopping.set)
        try:
            await worker.run()
        except grpc.aio.AioRpcError as error:
            sys.exit(gateway.explain(error))  # trying again would only hide it


if __name__ == "__main__":
    asyncio.run(main())
