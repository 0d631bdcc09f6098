"""The session with a real broker: nothing acknowledged too early, nothing lost, nothing acknowledged twice."""

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import mqtt_connection
from gateway.clocks import SystemClock
from gateway.errors import ConfigError
from gateway.mqtt_messages import Message, Subscription
from gateway.mqtt_session import MqttSession

pytestmark = pytest.mark.servers
TOPIC = "emg/v1/acme/north/W1/reading"


def asked(broker: Any, *, version: str = "5", **more: Any) -> Subscription:
    return Subscription(
        host="127.0.0.1", port=broker.port, client_id="test-1", topics=["emg/v1/#"], version=version, **more
    )


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
        assert all(session.acknowledge(message) for message in again)
        await nothing_more(session)
    async with MqttSession(asked(mosquitto, version=version), SystemClock()) as session:
        await connected(session)
        await nothing_more(session)


async def test_an_acknowledgement_of_a_lost_connection_is_not_sent_on_the_new_one(mosquitto: Any) -> None:
    async with MqttSession(asked(mosquitto), SystemClock()) as session:
        await connected(session)
        await asyncio.to_thread(mosquitto.publish_lines, TOPIC, ["one", "two"])
        first, second = await some(session, 2)
        assert session.acknowledge(first)
        await asyncio.to_thread(mosquitto.stop)
        async with asyncio.timeout(20):
            while not session.trouble:
                await asyncio.sleep(0.01)
        assert not session.acknowledge(second), "its connection has gone"
        await asyncio.to_thread(mosquitto.start)
        await connected(session)
        [again] = await some(session, 1)
        assert (again.payload, again.connection) == (b"two", second.connection + 1)
        assert not session.acknowledge(second), "the old message, on the new connection"
        assert session.acknowledge(again)
        await asyncio.to_thread(mosquitto.publish, TOPIC, "three")
        assert [message.payload for message in await some(session, 1)] == [b"three"]


async def test_the_receive_maximum_is_how_many_messages_come_unacknowledged(mosquitto: Any) -> None:
    async with MqttSession(asked(mosquitto, receive_maximum=30), SystemClock()) as session:
        await connected(session)
        await asyncio.to_thread(mosquitto.publish_lines, TOPIC, [str(n) for n in range(40)])
        messages = await some(session, 30)  # more than mosquitto's own default of 20
        await nothing_more(session)
        # mosquitto 2.0.11 then sends a whole new window after each acknowledgement: the session bounds itself as well.
        assert all(session.acknowledge(message) for message in messages)
        assert [message.payload for message in await some(session, 10)] == [str(n).encode() for n in range(30, 40)]


async def test_a_flood_without_qos_waits_in_the_socket_and_not_in_memory(mosquitto: Any) -> None:
    mosquitto.stop()
    mosquitto.options += ["max_queued_messages 0"]
    mosquitto.start()
    async with MqttSession(asked(mosquitto, receive_maximum=10), SystemClock()) as session:
        await connected(session)
        await asyncio.to_thread(mosquitto.publish_lines, TOPIC, [str(n) for n in range(500)], qos=0)
        async with asyncio.timeout(20):
            while not session._waiting.full:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # what would still come if reading had not stopped
        assert len(session._waiting._messages) == 10
        assert [message.payload for message in await some(session, 500)] == [str(n).encode() for n in range(500)]


async def test_of_a_payload_that_is_too_long_only_the_beginning_is_kept(mosquitto: Any) -> None:
    async with MqttSession(asked(mosquitto, longest_payload=1000), SystemClock()) as session:
        await connected(session)
        await asyncio.to_thread(mosquitto.publish, TOPIC, b"x" * 5000)
        [message] = await some(session, 1)
        assert (len(message.payload), message.size) == (1000, 5000)
        await asyncio.to_thread(mosquitto.publish, TOPIC, b"x" * 20000)  # over 16 times as much the broker keeps back
        await asyncio.to_thread(mosquitto.publish, TOPIC, b"short")
        session.acknowledge(message)
        assert [message.payload for message in await some(session, 1)] == [b"short"]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_broker_that_refuses_is_told_and_asked_again(mosquitto: Any, version: str) -> None:
    subscription = asked(mosquitto, version=version, username="gw")
    mosquitto.stop()
    mosquitto.options = ["allow_anonymous false"]
    mosquitto.start()
    async with MqttSession(subscription, SystemClock(), password="no") as session:
        async with asyncio.timeout(20):
            while "refuses" not in session.trouble:
                await asyncio.sleep(0.01)
        assert "Not authorized" in session.trouble
        mosquitto.stop()
        mosquitto.options = ["allow_anonymous true"]
        mosquitto.start()
        await connected(session)


async def test_refused_subscription_and_nonsense_from_the_broker_end_the_connection_and_are_told() -> None:
    # A broker by hand, MQTT 3.1.1: CONNACK 20 02 00 00; SUBACK 90 03 <mid> 80 = failure, 01 = granted QoS 1.
    # It refuses the first subscription, grants the second and then sends a packet of the reserved type 0.
    subscribed = 0

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal subscribed
        assert (await reader.read(256))[0] == 0x10, "CONNECT"
        writer.write(bytes.fromhex("20020000"))
        subscribe = await reader.read(256)
        assert subscribe[0] == 0x82, "SUBSCRIBE"
        subscribed += 1
        writer.write(bytes([0x90, 3, *subscribe[2:4], 0x80 if subscribed == 1 else 1]))
        if subscribed == 2:
            writer.write(bytes([0x00, 0x02, 0x00, 0x00]))
        await reader.read()
        writer.close()

    told: list[str] = []
    async with await asyncio.start_server(broker, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        subscription = Subscription(host="127.0.0.1", port=port, client_id="test-1", topics=["a/#"], version="3.1.1")
        async with MqttSession(subscription, SystemClock()) as session, asyncio.timeout(20):
            while len(told) < 3:
                if session.trouble not in {"", *told}:
                    told.append(session.trouble)
                await asyncio.sleep(0.01)
    assert "not yet" in told[0]
    assert told[1] == "the broker refuses the subscription to a/#"
    assert "protocol" in told[2].lower()


async def test_no_broker_is_a_sentence_and_not_an_error() -> None:
    subscription = Subscription(host="127.0.0.1", port=1, client_id="test-1", topics=["#"])
    async with MqttSession(subscription, SystemClock()) as session:
        async with asyncio.timeout(20):
            while not session.trouble.startswith("no connection"):
                await asyncio.sleep(0.01)
        assert "refused" in session.trouble


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """(CA, certificate for 127.0.0.1, key), made with openssl."""
    ca, key, certificate = folder / "ca.pem", folder / "key.pem", folder / "cert.pem"
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    made = [*new, "-x509", "-keyout", str(folder / "ca.key"), "-out", str(ca), "-subj", "/CN=test CA"]
    subprocess.run(made, check=True, capture_output=True)
    subprocess.run(
        [*new[:-2], "-keyout", str(key), "-out", str(folder / "csr"), "-subj", "/CN=broker"],
        check=True,
        capture_output=True,
    )
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1", "utf-8")
    sign = [
        "openssl",
        "x509",
        "-req",
        "-in",
        str(folder / "csr"),
        "-CA",
        str(ca),
        "-CAkey",
        str(folder / "ca.key"),
        "-CAcreateserial",
    ]
    subprocess.run(
        [*sign, "-out", str(certificate), "-days", "2", "-extfile", str(folder / "san")],
        check=True,
        capture_output=True,
    )
    return ca, certificate, key


async def test_tls_with_the_right_ca_carries_readings_and_with_another_nothing(mosquitto: Any, tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    ca, certificate, key = certificates(own)
    mosquitto.stop()
    mosquitto.options += [f"certfile {certificate}", f"keyfile {key}"]
    mosquitto.start()
    async with MqttSession(asked(mosquitto, tls_ca=str(ca)), SystemClock()) as session:
        await connected(session)
        options = ("--cafile", str(ca), "-t", TOPIC, "-l", "-q", "1")
        await asyncio.to_thread(mosquitto.run_pub, *options, data=b"".join(b"%d\n" % n for n in range(300)))
        messages = await some(session, 300)
        assert [message.payload for message in messages] == [str(n).encode() for n in range(300)]
    async with MqttSession(asked(mosquitto, tls_ca=str(certificates(other)[0])), SystemClock()) as session:
        async with asyncio.timeout(20):
            while "no connection" not in session.trouble:
                await asyncio.sleep(0.01)
        assert "certificate" in session.trouble.lower()
    with pytest.raises(ConfigError, match="a CA certificate in PEM form"):
        async with MqttSession(asked(mosquitto, tls_ca=str(tmp_path / "missing.pem")), SystemClock()):
            pass


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_our_own_reading_of_packets_says_what_the_library_would_say(
    mosquitto: Any, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    payloads = ["x", "", "ü" * 300, "y" * 40_000, "z"]
    found = []
    own = mqtt_connection._Client._handle_publish
    used: list[int] = []

    def counted(client: Any) -> Any:
        used.append(1)
        return own(client)

    for name in ("ours", "library"):
        if name == "ours":
            monkeypatch.setattr(mqtt_connection._Client, "_handle_publish", counted)
        else:
            monkeypatch.delattr(mqtt_connection._Client, "_handle_publish")
            monkeypatch.delattr(mqtt_connection._Client, "_sock_recv")
        subscription = replace(asked(mosquitto, version=version), client_id=name)
        async with MqttSession(subscription, SystemClock()) as session:
            await connected(session)
            for qos, payload in enumerate(payloads):
                await asyncio.to_thread(mosquitto.publish, f"{TOPIC}/é", payload, qos=qos % 2)
            messages = await some(session, len(payloads))
            assert session.acknowledge(*messages)
            found.append([message._replace(received_at=0, mid=message.mid > 0) for message in messages])
    assert len(used) == len(payloads), "the library still calls it"
    assert found[0] == found[1]
    assert [message.payload.decode() for message in found[0]] == payloads
