"""Publishing over a real mosquitto: acknowledged means arrived, refusals are told apart, nothing is left open."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import mqtt_publishing
from gateway.domain.destinations import BrokerAddress
from gateway.errors import ConfigError, SinkDenied, StoreError
from gateway.mqtt_publishing import Publisher
from tests.collectors.conftest import Mosquitto

pytestmark = pytest.mark.servers
TOPIC = "emg/v1/out/works/main/active_energy_import"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if shutil.which("mosquitto") is None or shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto and mosquitto_sub are not installed (apt-get install mosquitto mosquitto-clients)")
    (tmp_path / "broker").mkdir()
    server = Mosquitto(tmp_path / "broker")
    server.start()
    yield server
    server.stop()


def address(broker: Mosquitto, version: str = "5", **more: str) -> BrokerAddress:
    return BrokerAddress(host="127.0.0.1", port=broker.port, version=version, client_id="emg-out", **more)


def received(broker: Mosquitto, topic: str, count: int, *options: str) -> list[str]:
    """What a foreign subscriber gets: lines of topic and payload."""
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-C", str(count)]
    command += ["-W", "5", "-F", "%r %q %t %p", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()


def keep(broker: Mosquitto, topic: str) -> list[str]:
    """Options of a subscriber whose session keeps what it misses."""
    options = ["-i", "keeper", "-c", "-q", "1"]
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-E", *options]
    subprocess.run(command, check=True, timeout=10)
    return options


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_returned_has_arrived_in_its_order(broker: Mosquitto, version: str) -> None:
    session = keep(broker, "emg/#")
    with Publisher(address(broker, version)) as publisher:
        publisher.publish(TOPIC, b"first")
        publisher.publish_all((f"{TOPIC}/{number % 3}", str(number).encode()) for number in range(2500))
        publisher.publish(TOPIC, b"last")
    # mosquitto queues 1000 for a session that is away: what it let fall it has still acknowledged
    lines = received(broker, "emg/#", 1000, *session)
    assert lines[0] == f"0 1 {TOPIC} first"
    assert lines[1:4] == [f"0 1 {TOPIC}/{number} {number}" for number in range(3)]


def test_a_retained_message_waits_for_who_comes_later(broker: Mosquitto) -> None:
    with Publisher(address(broker)) as publisher:
        publisher.publish(TOPIC, b"older", retain=True)
        publisher.publish(TOPIC, b"newer", retain=True)
    assert received(broker, TOPIC, 1) == [f"1 0 {TOPIC} newer"]  # mosquitto_sub asks for QoS 0


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_broker_that_was_away_is_found_again(broker: Mosquitto, version: str) -> None:
    with Publisher(address(broker, version)) as publisher:
        publisher.publish(TOPIC, b"1", retain=True)
        broker.stop()
        with pytest.raises(StoreError, match=f"MQTT broker 127.0.0.1:{broker.port}: no connection"):
            publisher.publish(TOPIC, b"2", retain=True)
        broker.start()
        publisher.publish(TOPIC, b"3", retain=True)
        broker.stop()
        broker.start()  # the publisher has not looked meanwhile
        publisher.publish(TOPIC, b"4", retain=True)
    assert received(broker, TOPIC, 1)[0].endswith(" 4")


def test_a_broker_that_hangs_costs_a_limited_time(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_publishing, "ACKNOWLEDGED_WITHIN_S", 0.3)
    process = broker._process
    assert process is not None
    with Publisher(address(broker)) as publisher:
        publisher.publish(TOPIC, b"1")
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match=r"did not acknowledge 1 messages, one of them on emg/v1/out/works"):
                publisher.publish(TOPIC, b"2")
        finally:
            process.send_signal(signal.SIGCONT)
        publisher.publish(TOPIC, b"2")


def protect(broker: Mosquitto) -> None:
    """Only `copier`, password `right`, who may write below emg/v1/out alone."""
    passwords, rights = broker.folder / "passwords", broker.folder / "rights"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "copier", "right"], check=True)
    rights.write_text("user copier\ntopic write emg/v1/out/#\n", "utf-8")
    broker.options = ["allow_anonymous false", f"password_file {passwords}", f"acl_file {rights}"]
    broker.stop()
    broker.start()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_who_may_not_is_told_so(broker: Mosquitto, version: str) -> None:
    protect(broker)
    for password in ("wrong", ""):
        with (
            Publisher(address(broker, version, username="copier"), password) as publisher,
            pytest.raises(SinkDenied, match="refuses client 'emg-out'"),
        ):
            publisher.publish(TOPIC, b"1")
    with Publisher(address(broker, version, username="copier"), "right") as publisher:
        publisher.publish(TOPIC, b"1")
        if version == "5":  # 3.1.1 has no word for it
            with pytest.raises(SinkDenied, match="refuses a message on elsewhere"):
                publisher.publish("elsewhere", b"1")
        publisher.publish(TOPIC, b"2")


def test_a_ca_file_that_is_none_and_a_version_that_is_none_are_named(broker: Mosquitto, tmp_path: Path) -> None:
    with Publisher(address(broker, tls_ca=str(tmp_path / "absent.pem"))) as publisher, pytest.raises(ConfigError):
        publisher.publish(TOPIC, b"1")
    with pytest.raises(ValueError, match="MQTT version '4'"):
        Publisher(address(broker, "4"))
