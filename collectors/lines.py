"""Which collector serves which kind of line: the one list a new protocol is added to."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from collectors.device_watch import DeviceWatch, Tell, keep_to_oneself
from collectors.files import DropFolderCollector
from collectors.line_counts import LineCounts
from collectors.meter_line import MeterLine
from collectors.meter_points import metered_devices
from collectors.modbus_line import ModbusLine
from collectors.modbus_rtu import ModbusRtuLine
from collectors.modbus_tcp import ModbusTcpLine
from collectors.mqtt import MqttCollector, Rejected
from collectors.polling import PolledDevice, SecondLook, line_grid, polled_devices
from collectors.polling_collector import PollingCollector
from collectors.register_line import LateAnswers, RegisterLine
from collectors.sequences import OnLost, Sequences
from gateway.clocks import Clock
from gateway.contracts import Collector
from gateway.domain.sites import Line, LineKind, Site
from gateway.journal.slots import Schedule
from gateway.profile import Profile


def nothing_to_tell(*told: object) -> None:
    """For lines that have no messages."""
    raise AssertionError(f"a line without messages told {told}")


class Opening(NamedTuple):
    """All that a collector may need at its start. `after` is the newest slot of a polled line that was read.

    `profiles` are those of the site's meters as they were read with it: a profile that is edited later touches no
    line before the whole change is applied. `tell` takes the events that are journaled before the readings that
    follow. Messages that cannot be booked go to `on_rejected`, what is missing in a count of them to `on_lost`;
    `sequences` knows how far these counts have come.
    """

    site: Site
    profiles: Mapping[str, Profile]
    line: Line
    clock: Clock
    after: int | None = None
    tell: Tell = keep_to_oneself
    on_rejected: Callable[[Rejected], None] = nothing_to_tell
    on_lost: OnLost = nothing_to_tell
    sequences: Sequences | None = None
    counts: LineCounts | None = None


def _modbus(opening: Opening) -> Collector:
    devices = polled_devices(opening.site, opening.line, opening.profiles)
    look = DeviceWatch(opening.line, opening.clock, opening.tell).after
    return _polling(opening, devices, modbus_wire, look)


def _meters(opening: Opening) -> Collector:
    site, line = opening.site, opening.line
    wire = MeterLine.to(site, line, opening.profiles)
    return _polling(opening, metered_devices(site, line, opening.profiles), lambda _: wire)


def _polling(
    opening: Opening,
    devices: list[PolledDevice],
    wire: Callable[[Line], LateAnswers],
    look: SecondLook | None = None,
) -> Collector:
    given = opening.line, devices, opening.clock
    return PollingCollector(*given, after=opening.after, look=look, wire=wire, counts=opening.counts)


def _mqtt(opening: Opening) -> Collector:
    password = os.environ.get(f"EMG_MQTT_{opening.line.id.upper().replace('-', '_')}_PASSWORD", "")
    return MqttCollector(
        opening.line,
        opening.site,
        opening.clock,
        password,
        profiles=opening.profiles,
        on_rejected=opening.on_rejected,
        on_lost=opening.on_lost,
        sequences=opening.sequences or Sequences(),
    )


def _files(opening: Opening) -> Collector:
    return DropFolderCollector(opening.line, opening.site, opening.clock)


LINES: dict[LineKind, Callable[[Opening], Collector]] = {
    LineKind.MODBUS_TCP: _modbus,
    LineKind.MODBUS_TLS: _modbus,
    LineKind.MODBUS_RTU_SERIAL: _modbus,
    LineKind.MODBUS_RTU_TCP: _modbus,
    LineKind.DLT645_TCP: _meters,
    LineKind.DLT645_SERIAL: _meters,
    LineKind.CJT188_TCP: _meters,
    LineKind.CJT188_SERIAL: _meters,
    LineKind.MQTT: _mqtt,
    LineKind.FILES: _files,
}


def modbus_wire(line: Line) -> ModbusLine:
    """The way to the devices of a Modbus line."""
    return ModbusRtuLine.to(line) if line.kind.is_rtu else ModbusTcpLine.to(line)


def wire_to(site: Site, line: Line, profiles: Mapping[str, Profile] | None = None) -> RegisterLine:
    """The way to the devices of a polled line. Raises ProfileError."""
    return modbus_wire(line) if line.kind.is_modbus else MeterLine.to(site, line, profiles)


def devices_of(site: Site, line: Line, profiles: Mapping[str, Profile] | None = None) -> list[PolledDevice]:
    """What is asked of each device of a polled line. Raises ConfigError, and ProfileError from profiles read here."""
    return (polled_devices if line.kind.is_modbus else metered_devices)(site, line, profiles)


def polled_schedules(site: Site, profiles: Mapping[str, Profile] | None = None) -> dict[str, Schedule]:
    """What is read at which slots, for every polled line. Raises ConfigError and ProfileError as `devices_of`."""
    return {
        line.id: Schedule(line_grid(line), _series(devices_of(site, line, profiles)))
        for line in site.lines.values()
        if line.kind.is_polled
    }


def _series(devices: Iterable[PolledDevice]) -> tuple[str, ...]:
    return tuple(series for device in devices for series in device.series)
