"""The site file that reads a simulated plant: what a person would write for the same meters."""

import json
from collections.abc import Mapping

from simulators.lab import FILES, MQTT, Lab, LabLine, LabPoint, lab_file

# (simulated model, carrier) -> the gateway's meter profile for it
PROFILES = {
    ("acrel_adw300", "electricity"): "electricity/acrel_adw300",
    ("eastron_sdm630", "electricity"): "electricity/eastron_sdm630",
    ("mqtt_electricity", "electricity"): "electricity/emg_message_electricity",
    ("siemens_mag6000", "water"): "water/siemens_mag6000",
    ("mqtt_volume", "water"): "water/emg_message_water",
    ("mqtt_gas", "gas"): "gas/emg_message_gas",
    ("tuf_2000", "oil"): "oil/tuf2000",
    ("siemens_bw500", "coal"): "coal/siemens_bw500",
    ("spirax_tva", "steam"): "steam/spirax_tva",
}
YARD_PROFILES = {"mass": "coal/weighbridge_ticket", "stock": "coal/stock_survey"}
# What the mapping files say: quantity -> (file, column of the value, ticket column)
YARD_MAPPINGS = {"mass": ("tickets.toml", "net_kg", "ticket"), "stock": ("surveys.toml", "stock_kg", "survey")}


def meter_of(point: LabPoint) -> str:
    """The management number of the meter at a point."""
    return f"M-{point.id}"


def site_text(lab: Lab, *, ports: Mapping[str, int], broker_version: str, api_port: int) -> str:
    """`site.toml` for a lab whose Modbus lines and broker answer at `ports`."""
    tables = [
        _table(
            "[site]",
            name=lab.enterprise.name_en,
            timezone=lab.lab.timezone,
            data_dir="data",
            gateway_id=f"demo-{lab.lab.name}",
        ),
        _table("[api]", host="127.0.0.1", port=api_port),
        _table("[[enterprise]]", id=lab.enterprise.id, name_zh=lab.enterprise.name_zh, name_en=lab.enterprise.name_en),
    ]
    tables += [_line(lab, line, ports, broker_version) for line in lab.line]
    for point in lab.point:
        profile = PROFILES[point.model, point.carrier.value] if point.model else YARD_PROFILES[point.counts]
        address = {"device_address": point.address} if point.address else {}
        tables.append(
            _table("[[meter]]", id=meter_of(point), line=point.line, profile=profile, serial=point.serial, **address)
        )
    tables += [_point(lab, point) for point in lab.point]
    accounts = lab_file(lab.lab.name).with_name(f"{lab.lab.name}_accounts.toml")
    return "\n".join(tables) + "\n" + accounts.read_text("utf-8")


def mapping_texts(lab: Lab) -> dict[str, str]:
    """The mapping files of the yard's CSVs, by file name."""
    return {YARD_MAPPINGS[point.counts][0]: _mapping(lab, point) for point in lab.point if not point.model}


def _line(lab: Lab, line: LabLine, ports: Mapping[str, int], broker_version: str) -> str:
    if line.kind == FILES:
        (point,) = lab.points_on(line.id)  # each drop folder has its own mapping, hence its own point
        mapping = YARD_MAPPINGS[point.counts][0]
        return _table("[[line]]", id=line.id, kind=line.kind, folder=line.folder, mapping=mapping)
    wire: dict[str, object] = {"host": line.host, "port": ports[line.id]}
    if line.kind == MQTT:
        wire |= {"version": broker_version, "topic": f"emg/v1/{lab.enterprise.id}/{lab.lab.site}/+/reading"}
    else:
        wire |= {"period_s": line.period_s}
    return _table("[[line]]", id=line.id, kind=line.kind, **wire)


def _point(lab: Lab, point: LabPoint) -> str:
    return _table(
        "[[point]]",
        id=point.id,
        enterprise=lab.enterprise.id,
        name_zh=point.name_zh,
        name_en=point.name_en,
        carrier=point.carrier.value,
        level=point.level.value,
        role=point.role.value,
        counts=point.counts,
        meter=meter_of(point),
        **({"parent": point.parent} if point.parent else {}),
    )


def _mapping(lab: Lab, point: LabPoint) -> str:
    _, column, ticket = YARD_MAPPINGS[point.counts]
    kind = "interval" if point.counts == "mass" else "instantaneous"
    tables = [
        _table("[format]", delimiter=",", encoding="utf-8", header=True),
        _table("[into]", point=point.id, quantity=point.counts),
        _table("[time]", column="time", formats=["%Y-%m-%d %H:%M:%S"], zone=lab.lab.timezone, label="instant"),
        _table("[value]", column=column, unit="kg", decimal_mark=".", kind=kind),
    ]
    if kind == "interval":
        tables.append(_table("[ticket]", column=ticket))
    return "\n".join(tables)


def _table(head: str, **keys: object) -> str:
    rows = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    return "\n".join([head, *rows, ""])
