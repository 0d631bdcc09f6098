"""Modbus/TCP Security against a server that asks for our certificate: refused wherever one side is not who it should be."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest

from collectors.lines import modbus_wire
from gateway.config import load_site
from gateway.domain.sites import Line, LineKind
from gateway.errors import ConfigError, LineSilent
from tests.collectors.modbus_peer import Server, block, truth
from tests.collectors.test_mqtt_tls import Authority, Pair
from tests.sound_site import SOUND


@asynccontextmanager
async def device(
    own: Pair, trusted: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[tuple[Server, int]]:
    """A device that speaks TLS with a certificate of its own and lets in only whom `trusted` has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    context.load_verify_locations(trusted.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in server.writers), return_exceptions=True)


def line_to(port: int, trusted: Authority, own: Pair | None = None) -> Line:
    files = {} if own is None else {"tls_cert": str(own.certificate), "tls_key": str(own.key)}
    kind = LineKind.MODBUS_TLS
    return Line(id="secure", kind=kind, host="127.0.0.1", port=port, tls_ca=str(trusted.file), **files)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_values_come_where_both_sides_are_who_they_say(tmp_path: Path, version: ssl.TLSVersion) -> None:
    works = Authority(tmp_path, "works")
    async with device(works.issue("meter"), works, version) as (_, port):
        wire = modbus_wire(line_to(port, works, works.issue("gateway")))
        for address in (0, 40, 80):
            assert await wire.read(3, block(address, 30), 5.0) == truth(3, address, 30)
        wire.close()


@pytest.mark.parametrize("wrong", ["their authority", "no certificate of ours", "our authority", "an old version"])
async def test_nothing_is_asked_of_who_is_not_trusted_or_does_not_trust_us(tmp_path: Path, wrong: str) -> None:
    works, other = Authority(tmp_path, "works"), Authority(tmp_path, "other")
    own = (other if wrong == "our authority" else works).issue("gateway")
    version = ssl.TLSVersion.TLSv1_1 if wrong == "an old version" else ssl.TLSVersion.TLSv1_3
    theirs = (other if wrong == "their authority" else works).issue("meter")
    with pytest.warns(DeprecationWarning) if wrong == "an old version" else nullcontext():
        async with device(theirs, works, version) as (server, port):
            wire = modbus_wire(line_to(port, works, None if wrong == "no certificate of ours" else own))
            with pytest.raises(LineSilent):
                await wire.read(3, block(0, 2), 2.0)
            assert server.asked == []
            wire.close()


def test_the_site_file_names_its_files_and_mistakes_in_them_are_told(tmp_path: Path) -> None:
    works = Authority(tmp_path, "works")
    own = works.issue("gateway")
    secure = 'kind = "modbus-tls"\nhost = "192.0.2.1"\nperiod_s = 10\ntls_ca = "works.pem"\n'
    path = tmp_path / "site.toml"

    def load(table: str):
        path.write_text(SOUND.replace('kind = "modbus-tcp"\nhost = "192.0.2.1"\nperiod_s = 10\n', table), "utf-8")
        return load_site(path).lines["hall"]

    line = load(secure + 'tls_cert = "gateway.crt"\ntls_key = "gateway.key"\n')
    assert (line.kind, line.port, line.tls_key) == (LineKind.MODBUS_TLS, 802, str(own.key))
    assert load(secure).tls_cert == ""
    for table, told in (
        (secure.replace('tls_ca = "works.pem"\n', ""), "tls_ca"),
        (secure + 'tls_cert = "gateway.crt"\n', "tls_key"),
        (secure.replace("works.pem", "nowhere.pem"), "nowhere.pem"),
    ):
        with pytest.raises(ConfigError, match=told):
            load(table)
    own.key.chmod(0o644)
    with pytest.raises(ConfigError, match="which others may read"):
        load(secure + 'tls_cert = "gateway.crt"\ntls_key = "gateway.key"\n')
