"""The session with a real broker: nothing acknowledged too early, nothing lost, nothing acknowledged twice."""

import asyncio
from typing import Any

import pytest

from gateway.clocks import SystemClock
from gateway.mqtt_messages import Message, Subscription
from gateway.mqtt_session import MqttSession

pytestmark = pytest.mark.servers
TOPIC = "emg/v1/acme/north/W1/reading"


def asked(broker: Any, *, version: str = "5", **more: Any) -> Subscription:
    return Subscription(host="127.0.0.1", port=broker.port, client_id="test-1", topics=["emg/v1/#"], version=version, **more)


async def connected(session: MqttSession) -> None:
    async with asyncio.timeout(20):
        while session.trouble:
            await asyncio.sleep(0.01)


async def some(session: MqttSession, count: int) -> list[Message]:
    """Exactly `count` messages, or a TimeoutError."""
    found: list[Message] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await session.waiting(most=count - len(found))
    return found


async def nothing_more(session: MqttSession) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await session.waiting()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(mosquitto: Any, version: str) -> None:
    async with MqttSession(asked(mosquitto, version=version), SystemClock()) as session:
        await connected(session)
        await asyncio.to_thread(mosquitto.publish_lines, TOPIC, ["one", "two", "three"])
        messages = await some(session, 3)
        assert [message.payload for message in messages] == [b"one", b"two", b"three"]
        assert not any(message.dup or message.retain for message in messages)
        assert session.acknowledge(messages[0])
    async with MqttSession(asked(mosquitto, version=version), SystemClock()) as session:
        again = await some(session, 2)
        assert [(message.payload, message.dup) for message in again] == [(b"two", True), (b"three", True)]
        assert all([session.acknowledge(message) for message in again])
        await nothing_more(session)
    async with MqttSession(asked(mosquitto, version=version), SystemClock()) as session:
        await connected(session)
        await nothing_more(session)
