"""What in the MQTT lines of a site file contradicts itself: payload, zone, certificates, shares, names of meters."""

from collections.abc import Iterator
from pathlib import Path

from gateway.domain.readings import is_identifier
from gateway.domain.sites import EMG, SPARKPLUG_B, TOPICS
from gateway.errors import ConfigError, Problem
from gateway.line_form import ModbusTlsForm, MqttForm
from gateway.payload_mapping import is_zone, load_payload_mapping, mapping_path, shipped_mappings
from gateway.site_draft import SiteDraft
from gateway.tls_context import tls_context
from gateway.toml_form import closest, shown
from gateway.toml_lines import Place


def mqtt_contradictions(draft: SiteDraft, place: Place, line: MqttForm, site_file: Path) -> Iterator[Problem]:
    """Mistakes of one MQTT line. A mapping's own mistakes are told with its file and line."""
    folder = site_file.resolve().parent
    yield from tls_contradictions(draft, place, line, folder)
    if line.topic and not _is_filter(line.topic):
        expected = "a topic filter: + and # stand alone in their level, # at the end"
        yield draft.lines.problem((*place, "topic"), shown(line.topic), expected)
    if line.share and (not is_identifier(line.share) or line.payload == SPARKPLUG_B):
        expected = "letters, digits, '_', '.' or '-'"
        if line.payload == SPARKPLUG_B:
            expected = "nothing: births and data of one edge node must come to one reader, in their order"
        yield draft.lines.problem((*place, "share"), shown(line.share), expected)
    if line.payload != SPARKPLUG_B:
        for key, value in (("sparkplug_host", line.sparkplug_host), ("rebirth", line.rebirth)):
            if value:
                yield draft.lines.problem((*place, key), shown(value), f'this key with payload = "{SPARKPLUG_B}" only')
    elif line.sparkplug_host and any(sign in line.sparkplug_host for sign in "/+#"):
        yield draft.lines.problem((*place, "sparkplug_host"), shown(line.sparkplug_host), "a name without /, + and #")
    yield from _mapping(draft, place, line, folder)


def tls_contradictions(
    draft: SiteDraft, place: Place, line: MqttForm | ModbusTlsForm, folder: Path
) -> Iterator[Problem]:
    """Files for TLS that are missing, do not fit, or cannot be read."""
    given = {key: getattr(line, key) for key in ("tls_ca", "tls_cert", "tls_key") if getattr(line, key)}
    for key, needs in (("tls_cert", ("tls_ca", "tls_key")), ("tls_key", ("tls_cert",))):
        for other in needs:
            if key in given and other not in given:
                expected = f"a file, because {key!r} is given"
                yield draft.lines.problem((*place, other), "nothing", expected, f"Add the key {other!r}.")
                return
    for key, name in given.items():
        if not (folder / name).is_file():
            yield draft.lines.problem((*place, key), shown(name), "a file that exists; relative to this file")
            return
    if "tls_key" in given and (mode := (folder / line.tls_key).stat().st_mode & 0o077):
        found = f"{shown(line.tls_key)}, which others may read (mode bits {mode:03o})"
        mend = f"chmod 600 {folder / line.tls_key}"
        yield draft.lines.problem((*place, "tls_key"), found, "a private key that its owner alone can read", mend)
    try:
        tls_context(*(str(folder / name) if name else "" for name in (line.tls_ca, line.tls_cert, line.tls_key)))
    except ConfigError as error:
        told = error.problems[0]
        name = given[told.key]
        yield draft.lines.problem((*place, told.key), f"{shown(name)}, which fails: {told.found}", told.expected)


def _mapping(draft: SiteDraft, place: Place, line: MqttForm, folder: Path) -> Iterator[Problem]:
    mapping = None
    draft.heard[line.id] = [line.topic] if line.topic else TOPICS.get(line.payload, ())
    if line.payload not in {EMG, SPARKPLUG_B}:
        path = mapping_path(line.payload, folder)
        if not path.is_file():
            known = [EMG, SPARKPLUG_B, *shipped_mappings()]
            expected = "a known payload, or the file of a payload mapping, relative to this file"
            yield draft.lines.problem((*place, "payload"), shown(line.payload), expected, closest(line.payload, known))
            return
        try:
            mapping = load_payload_mapping(path)
        except ConfigError as error:
            yield draft.lines.problem(
                (*place, "payload"), f"{shown(line.payload)}, which does not hold", "a sound mapping"
            )
            yield from error.problems
            return
        draft.mappings[line.id], draft.heard[line.id] = mapping, [line.topic or mapping.filter]
    if mapping is not None and mapping.needs_zone and not line.zone:
        expected = f"the IANA zone of the devices' clocks: payload {shown(line.payload)} has times without an offset"
        yield draft.lines.problem((*place, "zone"), "nothing", expected, "Add the key 'zone', e.g. Asia/Shanghai.")
    elif line.zone and (mapping is None or not mapping.needs_zone):
        expected = f"no such key: payload {shown(line.payload)} has no times without an offset"
        yield draft.lines.problem((*place, "zone"), shown(line.zone), expected, "Remove the key.")
    elif line.zone and not is_zone(line.zone):
        yield draft.lines.problem((*place, "zone"), shown(line.zone), "an IANA time zone, e.g. Asia/Shanghai")


def pushed_meter_contradictions(draft: SiteDraft) -> Iterator[Problem]:
    """Meters of MQTT lines: names in messages that are used twice or not at all, payloads that bring nothing of one."""
    seen: dict[tuple[str, str], Place] = {}
    for place, meter in draft.meters.items():
        mapping, profile = draft.mappings.get(meter.line), draft.profiles.get(meter.profile)
        if mapping is not None and profile is not None:
            brought = sorted({value.quantity for value in mapping.values})
            if not set(brought) & set(profile.registers):
                expected = f"a profile with one of what {mapping.file.name} brings: {', '.join(brought)}"
                yield draft.lines.problem((*place, "profile"), shown(meter.profile), expected)
        if not meter.source:
            continue
        line = draft.way(meter.line)
        if line is not None and (not isinstance(line, MqttForm) or line.payload == EMG):
            expected = f"no such key: line {meter.line!r} finds its meters otherwise"
            yield draft.lines.problem((*place, "source"), shown(meter.source), expected, "Remove the key.")
        other = seen.setdefault((meter.line, meter.source), place)
        if other != place:
            found = f"{shown(meter.source)}, as meter {draft.meters[other].id!r} is called"
            yield draft.lines.problem((*place, "source"), found, f"a name of its own on line {meter.line!r}")


def _is_filter(topic: str) -> bool:
    """Source: MQTT Version 5.0 - §4.7.1 topic wildcards."""
    levels = topic.split("/")
    for number, level in enumerate(levels):
        if level != "+" and "+" in level:
            return False
        if "#" in level and (level != "#" or number < len(levels) - 1):
            return False
    return not topic.startswith("$share/") and "\0" not in topic
