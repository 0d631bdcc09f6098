"""Which collector serves which kind of line: the one list a new protocol is added to."""

import os
from collections.abc import Callable
from typing import NamedTuple

from collectors.files import DropFolderCollector
from collectors.mqtt import MqttCollector, Rejected
from collectors.polling import ModbusTcpCollector, polled_devices
from gateway.clocks import Clock
from gateway.contracts import Collector
from gateway.domain.sites import Line, LineKind, Site


class Opening(NamedTuple):
    """All that a collector may need at its start."""

    site: Site
    line: Line
    clock: Clock
    on_rejected: Callable[[Rejected], None]


def _modbus_tcp(opening: Opening) -> Collector:
    return ModbusTcpCollector(opening.line, polled_devices(opening.site, opening.line), opening.clock)


def _mqtt(opening: Opening) -> Collector:
    password = os.environ.get(f"EMG_MQTT_{opening.line.id.upper().replace('-', '_')}_PASSWORD", "")
    return MqttCollector(opening.line, opening.site, opening.clock, password, on_rejected=opening.on_rejected)


def _files(opening: Opening) -> Collector:
    return DropFolderCollector(opening.line, opening.site, opening.clock)


LINES: dict[LineKind, Callable[[Opening], Collector]] = {
    LineKind.MODBUS_TCP: _modbus_tcp,
    LineKind.MQTT: _mqtt,
    LineKind.FILES: _files,
}
