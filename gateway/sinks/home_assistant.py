"""What Home Assistant needs to know to show our topics as sensors: one retained discovery message per series [1].

Source: [1] Home Assistant - MQTT integration (MQTT discovery: topic `<prefix>/sensor/<node>/<object>/config`),
MQTT sensor, and developer documentation - Sensor entity (device classes with their units, state classes)
"""

import hashlib
import re
from typing import Any

import orjson

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.destinations import SinkSettings
from gateway.domain.instruments import RegisterKind
from gateway.domain.quantities import QUANTITIES
from gateway.domain.sites import Series, Site

LATE_PERIODS = 3  # a polled value that missed so many of its slots is shown as unavailable
_UNITS = {
    "m3": "m³", "m3/h": "m³/h", "m3/s": "m³/s", "Cel": "°C", "kg/m3": "kg/m³", "1": None,
}  # fmt: skip
# Dimension -> (device class, our units that Home Assistant takes for it). Others get a unit and no class.
_CLASSES: dict[str, tuple[str, frozenset[str]]] = {
    "energy": ("energy", frozenset({"Wh", "kWh", "MWh", "kJ", "MJ", "GJ", "kcal"})),
    "reactive_energy": ("reactive_energy", frozenset({"kvarh"})),
    "power": ("power", frozenset({"W", "kW", "MW"})),
    "reactive_power": ("reactive_power", frozenset({"var", "kvar"})),
    "apparent_power": ("apparent_power", frozenset({"VA", "kVA"})),
    "voltage": ("voltage", frozenset({"V", "kV"})),
    "current": ("current", frozenset({"A"})),
    "frequency": ("frequency", frozenset({"Hz"})),
    "volume": ("volume", frozenset({"m3", "L"})),
    "volume_flow": ("volume_flow_rate", frozenset({"m3/h", "m3/s", "L/h"})),
    "mass": ("weight", frozenset({"kg", "g"})),
    "temperature": ("temperature", frozenset({"Cel", "K"})),
    "pressure": ("pressure", frozenset({"Pa", "kPa", "bar"})),
    "speed": ("speed", frozenset({"m/s"})),
}
_VOLUME_OF = {EnergyCarrier.GAS: "gas", EnergyCarrier.WATER: "water"}
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")


def discovery_messages(site: Site, settings: SinkSettings) -> list[tuple[str, bytes]]:
    """(topic, payload) of every series that the sink publishes; to be retained by the broker."""
    wanted = settings.enterprises or tuple(site.enterprises)
    return [_message(site, settings, series) for series in site.series.values() if series.enterprise in wanted]


def _message(site: Site, settings: SinkSettings, series: Series) -> tuple[str, bytes]:
    # A dot is allowed in our ids and not in theirs: the digest keeps `a.b` and `a_b` apart.
    digest = hashlib.sha256(series.key.encode()).hexdigest()[:8]
    thing = f"{_plain(series.point)}_{_plain(series.register.quantity)}_{digest}"
    topic = f"{settings.discovery}/sensor/{_plain(site.gateway_id)}/{thing}/config"
    return topic, orjson.dumps({**_sensor(site, settings, series), "unique_id": f"{site.gateway_id}_{series.key}"})


def _sensor(site: Site, settings: SinkSettings, series: Series) -> dict[str, Any]:
    point, quantity = site.points[series.point], QUANTITIES[series.register.quantity]
    sensor: dict[str, Any] = {
        "name": quantity.name_en,
        "state_topic": f"{settings.topic}/{series.key}",
        "value_template": "{{ value_json.value }}",
        "json_attributes_topic": f"{settings.topic}/{series.key}",
        "qos": 1,
        "device": {
            "identifiers": [f"{site.gateway_id}_{series.enterprise}_{series.point}"],
            "name": f"{point.name_en} {point.name_zh}",
            "model": series.profile,
            "suggested_area": site.enterprises[series.enterprise].name_en,
        },
    }
    unit = _UNITS.get(series.register.unit, series.register.unit)
    kind = series.register.kind
    device_class = _device_class(series, point.carrier, quantity.dimension)
    optional = {
        "unit_of_measurement": unit,
        "device_class": device_class,
        "state_class": _state_class(kind, device_class),
        "expire_after": _expires_s(site, series),
    }
    return sensor | {key: value for key, value in optional.items() if value is not None}


def _device_class(series: Series, carrier: EnergyCarrier, dimension: str) -> str | None:
    if series.register.quantity == "power_factor":
        return "power_factor"
    name, units = _CLASSES.get(dimension, ("", frozenset()))
    if series.register.unit not in units:
        return None
    if dimension == "volume" and series.register.kind is RegisterKind.CUMULATIVE:
        return _VOLUME_OF.get(carrier, name)
    if dimension == "volume" and series.register.kind is RegisterKind.INSTANTANEOUS:
        return "volume_storage"
    return name


def _state_class(kind: RegisterKind, device_class: str | None) -> str | None:
    if kind is RegisterKind.CUMULATIVE:  # may roll over to zero: that is no export
        return "total_increasing"
    # An energy that is no total has no state class that its device class permits.
    return "measurement" if kind is RegisterKind.INSTANTANEOUS and device_class != "energy" else None


def _expires_s(site: Site, series: Series) -> int | None:
    line = site.lines[site.meters[series.meter].line]
    return int(line.period_s * LATE_PERIODS) + 1 if line.kind.is_polled else None


def _plain(name: str) -> str:
    return _NOT_ALLOWED.sub("_", name)
