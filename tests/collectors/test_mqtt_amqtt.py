"""The broker that the demo falls back to, amqtt 0.12 inside the process: what it does for a session of ours.

Its limits, read in its source and seen: MQTT 3.1.1 only; a message that was not acknowledged is dropped with its
connection, or after 5 s, and never comes again; what is published while a client without a name and password is
away is not kept for it; a client that comes back before the broker has cleared away its old connection gets no
messages on the new one. So it carries a demonstration; a plant has a broker that keeps its word.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from amqtt.broker import Broker
from amqtt.client import MQTTClient

from gateway.clocks import SystemClock
from gateway.mqtt_messages import Message, Subscription
from gateway.mqtt_session import MqttSession

TOPIC = "emg/v1/works/north/W1/reading"


@pytest_asyncio.fixture
async def amqtt(caplog: pytest.LogCaptureFixture) -> AsyncIterator[tuple[Broker, int]]:
    """A running amqtt broker and its port."""
    caplog.set_level(logging.CRITICAL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{number}"}}, "plugins": anonymous})
    await broker.start()
    yield broker, number
    await broker.shutdown()


async def publish(port: int, payloads: list[bytes]) -> None:
    client = MQTTClient()
    await client.connect(f"mqtt://127.0.0.1:{port}/")
    for payload in payloads:
        await client.publish(TOPIC, payload, qos=1)
    await client.disconnect()


async def away(broker: Broker, client_id: str) -> None:
    """Wait until the broker itself has finished with a client's connection."""
    async with asyncio.timeout(20):
        while broker.sessions[client_id][0].transitions.state != "disconnected":
            await asyncio.sleep(0.01)


async def some(session: MqttSession, count: int) -> list[Message]:
    found: list[Message] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await session.waiting(most=count - len(found))
    return found


async def test_readings_with_qos_1_arrive_in_order_through_two_connections_of_one_session(
    amqtt: tuple[Broker, int],
) -> None:
    broker, port = amqtt
    subscription = Subscription(
        host="127.0.0.1", port=port, client_id="gw", topics=["emg/v1/+/+/+/reading"], version="3.1.1"
    )
    for _ in range(2):
        async with MqttSession(subscription, SystemClock()) as session:
            async with asyncio.timeout(20):
                while session.trouble:
                    await asyncio.sleep(0.01)
            await publish(port, [str(n).encode() for n in range(50)])
            messages = await some(session, 50)
            assert [message.payload for message in messages] == [str(n).encode() for n in range(50)]
            assert {(message.qos, message.retain) for message in messages} == {(1, False)}
            assert all(session.acknowledge(message) for message in messages)
        await away(broker, "gw")
