"""Where `emg scan` looks: addresses of a network, ports and device addresses, never more than was declared."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from collectors.modbus_tcp import ModbusTcpLine
from collectors.register_line import RegisterLine
from gateway.errors import ConfigError, Problem


class ScanPlace(Protocol):
    """One wire on which devices may be: a TCP port, or a serial port at one baud rate.

    `line` holds the keys of the [[line]] that would read it.
    """

    @property
    def label(self) -> str:
        """Its name for people, e.g. "10.0.0.5:502"."""
        ...

    @property
    def line(self) -> dict[str, str | int]:
        """Kind and place of the line in the site file."""
        ...

    def open(self) -> RegisterLine:
        """The wire, not connected yet."""
        ...


class TcpPlace(NamedTuple):
    """A TCP port that may speak Modbus (a ScanPlace)."""

    host: str
    port: int

    @property
    def label(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    @property
    def line(self) -> dict[str, str | int]:
        """The keys of its [[line]]."""
        return {"kind": "modbus-tcp", "host": self.host, "port": self.port}

    def open(self) -> RegisterLine:
        """A Modbus TCP line to it."""
        return ModbusTcpLine(self.host, self.port)


def tcp_places(targets: Sequence[str], ports: Sequence[int], *, most: int) -> list[TcpPlace]:
    """Every port of every target, each once: a host, a network (10.0.0.0/28) or a range (10.0.0.5-10.0.0.20).

    Raises ConfigError for a target that is none, and when there are more than `most` places.
    """
    hosts: dict[str, None] = {}
    for target in targets:
        for host in _hosts(target):
            hosts[host] = None
            if len(hosts) * len(ports) > most:
                expected = f"at most {most} places of host and port (--most)"
                raise _refused("TARGET", f"{' '.join(targets)}: more than {most}", expected)
    return [TcpPlace(host, port) for host in hosts for port in ports]


def _hosts(target: str) -> Iterator[str]:
    if "/" in target:
        try:
            network = ipaddress.ip_network(target, strict=False)
        except ValueError as error:
            raise _refused("TARGET", target, f"a network such as 10.0.0.0/28 ({error})") from None
        yield from map(str, network.hosts())
        return
    first, dash, last = target.partition("-")
    try:
        begin = ipaddress.ip_address(first)
    except ValueError:
        yield target  # a host's name, which may hold a minus
        return
    if not dash:
        yield str(begin)
        return
    try:
        end = ipaddress.ip_address(last)
    except ValueError as error:
        raise _refused("TARGET", target, f"a range such as 10.0.0.5-10.0.0.20 ({error})") from None
    if begin.version != end.version or int(end) < int(begin):
        raise _refused("TARGET", target, "a range whose last address does not lie before its first")
    yield from (str(begin + n) for n in range(int(end) - int(begin) + 1))


def device_addresses(text: str) -> list[int]:
    """Device addresses from a list of numbers and ranges, e.g. "1-10,20". Raises ConfigError."""
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 9:
            raise _refused("--device", text, "numbers and ranges from 0 to 255, e.g. 1-10,20")
        span = range(int(first), int(last or first) + 1)
        if not span or span.stop > 256:
            raise _refused("--device", text, "numbers and ranges from 0 to 255, e.g. 1-10,20")
        found |= dict.fromkeys(span)
    return list(found)


def _refused(key: str, found: str, expected: str) -> ConfigError:
    return ConfigError([Problem(file="emg scan", line=None, key=key, found=found, expected=expected)])
