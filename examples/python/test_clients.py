"""Tests of the examples, on a gateway whose addresses the environment has.

GATEWAY_GRPC=127.0.0.1:9090 GATEWAY_WEBHOOKS=127.0.0.1:8080 python3 -m unittest
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import unittest
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from webhookgateway.v1 import event_pb2, event_service_pb2, subscription_pb2, subscription_service_pb2
from webhookgateway.v1.event_service_pb2_grpc import EventServiceServicer, EventServiceStub, add_EventServiceServicer_to_server
from webhookgateway.v1.subscription_service_pb2_grpc import SubscriptionServiceStub

import gateway
from subscriber import BrokenChain, Subscriber
from worker import Permanent, Worker

LONG = 30.0


def deliver(account: str) -> None:
    body = {"hook": "SyncError", "user": {"id": "u"}, "account": {"id": account, "provider": "coinbase"}, "error": "LoginFailedError"}
    request = urllib.request.Request(
        f"http://{os.environ['GATEWAY_WEBHOOKS']}/v1/webhooks/vezgo",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "X-Client-Id": "python"},
    )
    urllib.request.urlopen(request).close()


class WorkerTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.channel = gateway.connect(os.environ["GATEWAY_GRPC"])
        self.addAsyncCleanup(self.channel.close)
        self.stub = SubscriptionServiceStub(self.channel)
        self.name = self.id().rsplit(".", 1)[1].lower()
        self.handled: Counter[str] = Counter()

    async def subscribe(self, **settings: object) -> None:
        await self.stub.CreateSubscription(
            subscription_service_pb2.CreateSubscriptionRequest(
                subscription=subscription_pb2.Subscription(name=self.name, settings=settings)
            )
        )

    def start(self, handle: Callable[[str], Awaitable[None]]) -> tuple[Worker, asyncio.Task[None]]:
        async def counted(event: event_pb2.Event) -> None:
            account = event.vezgo.account.id
            self.handled[account] += 1
            await handle(account)

        worker = Worker(self.stub, self.name, counted, heartbeat=1)
        return worker, asyncio.create_task(worker.run())

    async def wait_for(self, wanted: Callable[[subscription_pb2.SubscriptionStatus], bool]) -> None:
        async with asyncio.timeout(LONG):
            while True:
                got = await self.stub.GetSubscription(subscription_service_pb2.GetSubscriptionRequest(name=self.name))
                if wanted(got.subscription.status):
                    return
                await asyncio.sleep(0.02)

    async def test_outcomes(self) -> None:
        """What is handled is settled, what fails comes again, what cannot be handled is
        parked with the reason, and what takes longer than its deadline is not taken away."""

        async def handle(account: str) -> None:
            if account == "bad":
                raise Permanent("it is bad")
            if account == "fails once" and self.handled[account] == 1:
                raise ValueError("try again")
            if account == "slow":
                await asyncio.sleep(4)

        await self.subscribe(ack_deadline=Duration(seconds=3), min_backoff=Duration())
        worker, running = self.start(handle)
        for account in ("good", "fails once", "bad", "slow"):
            deliver(account)
        await self.wait_for(lambda status: done(status) and status.parked_events == 1)
        worker.stopping.set()
        await running
        self.assertEqual(self.handled, {"good": 1, "fails once": 2, "bad": 1, "slow": 1})
        parked = await self.stub.ListParkedEvents(subscription_service_pb2.ListParkedEventsRequest(subscription=self.name))
        self.assertEqual(parked.parked_events[0].message, "Permanent: it is bad")

    async def test_stop(self) -> None:
        """What a worker holds when it is told to end is given back: another gets it, as the
        first attempt."""
        await self.subscribe(max_attempts=1)
        stopping, stopped = self.start(lambda _: asyncio.sleep(LONG))
        accounts = ["1", "2", "3"]
        for account in accounts:
            deliver(account)
        await self.wait_for(lambda status: status.in_flight_events == len(accounts))
        other, running = self.start(lambda _: asyncio.sleep(0))
        await self.wait_for(lambda status: status.streams == 2)
        stopping.stopping.set()
        await stopped
        await self.wait_for(lambda status: done(status) and status.parked_events == 0)
        other.stopping.set()
        await running
        self.assertEqual(self.handled, dict.fromkeys(accounts, 2))

    async def test_no_subscription(self) -> None:
        """It ends with what the gateway said."""
        _, running = self.start(lambda _: asyncio.sleep(0))
        with self.assertRaises(grpc.aio.AioRpcError) as raised:
            await running
        self.assertRegex(gateway.explain(raised.exception), "^NOT_FOUND SUBSCRIPTION_NOT_FOUND: ")


def done(status: subscription_pb2.SubscriptionStatus) -> bool:
    return status.lag_events == status.in_flight_events == status.waiting_events == 0


class Fake(EventServiceServicer):
    """A gateway that sends what a test wants, and then nothing."""

    def __init__(self, *streams: list[event_service_pb2.SubscribeResponse]) -> None:
        self.streams = iter(streams)

    async def Subscribe(self, request: object, context: object) -> AsyncIterator[event_service_pb2.SubscribeResponse]:
        for frame in next(self.streams):
            yield frame
        await asyncio.sleep(LONG)


class SubscriberTest(unittest.IsolatedAsyncioTestCase):
    async def start(self, *streams: list[event_service_pb2.SubscribeResponse]) -> Subscriber:
        server = grpc.aio.server()
        add_EventServiceServicer_to_server(Fake(*streams), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self.addAsyncCleanup(server.stop, None)
        channel = gateway.connect(f"127.0.0.1:{port}")
        self.addAsyncCleanup(channel.close)
        return Subscriber(EventServiceStub(channel), sqlite3.connect(":memory:"), heartbeat=0.5)

    async def test_broken_chain(self) -> None:
        """It ends with an error when frames do not follow one another."""
        subscriber = await self.start([subscribed("c1"), heartbeat("c1", "c2"), heartbeat("c3", "c4")])
        with self.assertRaisesRegex(BrokenChain, "the last cursor was c2, and the next frame begins at c3"):
            await subscriber.run()

    async def test_watchdog(self) -> None:
        """It leaves a stream that is open and says nothing, and resumes."""
        broken = heartbeat("elsewhere", "c9")  # ends the test
        subscriber = await self.start([subscribed("c1"), heartbeat("c1", "c2")], [subscribed("c2"), heartbeat("c2", "c3"), broken])
        with self.assertRaisesRegex(BrokenChain, "the last cursor was c3"):
            await subscriber.run()


def subscribed(cursor: str) -> event_service_pb2.SubscribeResponse:
    return event_service_pb2.SubscribeResponse(subscribed=event_service_pb2.Subscribed(start_cursor=cursor))


def heartbeat(start: str, end: str) -> event_service_pb2.SubscribeResponse:
    return event_service_pb2.SubscribeResponse(heartbeat=event_service_pb2.Heartbeat(after_cursor=start, cursor=end))


if __name__ == "__main__":
    unittest.main()
