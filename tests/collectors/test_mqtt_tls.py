"""TLS with certificates of both sides, made here, on a real broker; and two gateways that share a subscription."""

import asyncio
import datetime as dt
import ipaddress
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.config import load_site
from gateway.errors import ConfigError
from tests.collectors.mqtt_lab import MqttLab, site_text

pytestmark = pytest.mark.servers
WATER = "water/emg_message_water"


class Pair(NamedTuple):
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that lives as long as its test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = self._write(f"{name}.pem", self._sign(self.name, self._key.public_key(), is_authority=True))

    def issue(self, name: str) -> Pair:
        """A certificate for `name` that is also good for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._write(f"{name}.crt", self._sign(subject, key.public_key(), is_authority=False))
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self.folder / f"{name}.key"
        path.write_bytes(key.private_bytes(*pem))
        path.chmod(0o600)
        return Pair(certificate, path)

    def _sign(self, subject: x509.Name, key: Any, *, is_authority: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        address = ipaddress.ip_address("127.0.0.1")
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=False)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key)
        builder = builder.add_extension(identifier, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


class Papers:
    """What a plant's authority gives out, and a stranger's."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.authority, self.stranger = Authority(folder, "plant-ca"), Authority(folder, "other-ca")
        self.broker, self.gateway = self.authority.issue("broker"), self.authority.issue("gateway")
        self.forged = self.stranger.issue("forged")

    def line(self, certificate: Pair | None, *, authority: Path | None = None, more: str = "") -> str:
        keys = f'tls_ca = "{authority or self.authority.file}"\n'
        if certificate:
            keys += f'tls_cert = "{certificate.certificate}"\ntls_key = "{certificate.key}"\n'
        return keys + more


@pytest.fixture
def papers(mosquitto: Any, tmp_path: Path) -> Papers:
    """A broker that asks for certificates of the plant's authority, and takes the user's name from them."""
    papers = Papers(tmp_path / "papers")
    mosquitto.stop()
    mosquitto.options = ["allow_anonymous false"]
    files = {"cafile": papers.authority.file, "certfile": papers.broker.certificate, "keyfile": papers.broker.key}
    mosquitto.listener = [*(f"{key} {path}" for key, path in files.items()), "require_certificate true"]
    mosquitto.listener += ["use_identity_as_username true", "tls_version tlsv1.2"]
    mosquitto.start()
    return papers


def publish(broker: Any, papers: Papers, topic: str, text: str) -> None:
    files = ("--cafile", papers.authority.file, "--cert", papers.gateway.certificate, "--key", papers.gateway.key)
    broker.publish(topic, text, *map(str, files))


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_with_a_certificate_of_the_plants_authority_readings_come(
    mosquitto: Any, papers: Papers, tmp_path: Path, version: str
) -> None:
    line = papers.line(papers.gateway, more=f'version = "{version}"')
    async with MqttLab(tmp_path, site_text(mosquitto.port, line, {"W1": ""}, WATER)) as lab:
        text = '{"ts":"2026-11-24T03:00:00Z","seq":1,"values":{"volume":815.125}}'
        await asyncio.to_thread(publish, mosquitto, papers, "emg/v1/works/north/W1/reading", text)
        assert await lab.readings(1) == {("W1/volume", 1_795_489_200_000_000): 815_125}


@pytest.mark.parametrize("whose", ["none", "forged", "foreign broker"])
async def test_without_the_right_certificates_there_is_no_connection(
    mosquitto: Any, papers: Papers, tmp_path: Path, whose: str
) -> None:
    certificate = {"none": None, "forged": papers.forged, "foreign broker": papers.gateway}[whose]
    authority = papers.stranger.file if whose == "foreign broker" else None
    line = papers.line(certificate, authority=authority)
    lab = MqttLab(tmp_path, site_text(mosquitto.port, line, {"W1": ""}, WATER))
    reading = asyncio.create_task(anext(lab.collector.readings()))
    async with asyncio.timeout(20):
        while lab.collector.trouble == "not yet connected":
            await asyncio.sleep(0.01)
    assert lab.collector.trouble.startswith("no connection:") or "connection ended" in lab.collector.trouble
    if whose == "foreign broker":
        assert "certificate verify failed" in lab.collector.trouble
    assert not reading.done()
    reading.cancel()
    await asyncio.wait([reading])


def test_mistakes_about_certificates_are_told_with_line_and_key(tmp_path: Path) -> None:
    papers = Papers(tmp_path / "papers")
    good = papers.line(papers.gateway)

    def told(line: str) -> str:
        file = tmp_path / "site.toml"
        file.write_text(site_text(1, line, {"W1": ""}, WATER), "utf-8")
        with pytest.raises(ConfigError) as raised:
            load_site(file)
        assert len(raised.value.problems) == 1
        return str(raised.value)

    lines = good.splitlines()
    assert "line[1].tls_key: found nothing; expected a file" in told("\n".join(lines[:2]))
    assert "line[1].tls_ca: found nothing; expected a file" in told("\n".join(lines[1:]))
    assert "line[1].tls_cert: found nothing; expected a file" in told("\n".join([lines[0], lines[2]]))
    missing = told(good.replace("gateway.crt", "gatewy.crt"))
    assert "site.toml:19: line[1].tls_cert" in missing
    assert "expected a file that exists" in missing
    assert "line[1].tls_cert" in told(good.replace("gateway.key", "broker.key"))
    assert "its own key" in told(good.replace("gateway.key", "broker.key"))
    assert "line[1].tls_ca" in told(good.replace("plant-ca.pem", "gateway.key"))
    os.chmod(papers.gateway.key, 0o644)  # noqa: PTH101 - as an operator does it
    assert "which others may read (mode bits 044)" in told(good)
    assert "chmod 600" in told(good)


async def test_a_shared_subscription_divides_the_messages_and_tells_no_false_losses(
    mosquitto: Any, tmp_path: Path
) -> None:
    def text(client: str) -> str:
        return site_text(mosquitto.port, f'share = "gateways"\nclient_id = "{client}"', {"W1": ""}, WATER)

    async with MqttLab(tmp_path, text("one"), "one") as one, MqttLab(tmp_path, text("two"), "two") as two:
        times = [f'{{"ts":"2026-11-24T03:00:{n:02d}Z","seq":{n},"values":{{"volume":{n}}}}}' for n in range(60)]
        await asyncio.to_thread(mosquitto.publish_lines, "emg/v1/works/north/W1/reading", times)
        await one.until(lambda: len(one.arrived) + len(two.arrived) >= 60)
        assert sorted(reading.value for reading in one.arrived + two.arrived) == [1000 * n for n in range(60)]
        assert one.arrived
        assert two.arrived
        assert (one.lost, two.lost) == ([], [])
