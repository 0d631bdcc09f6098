"""Sparkplug B as a host application hears it: births give names to aliases, `seq` shows losses, deaths end all values.

A source is `<group>/<edge node>` or `<group>/<edge node>/<device>`; a field is the name of a metric. Nothing is
published unless the site file asks for it: a request for rebirth is a command to the field.

Source: Sparkplug Specification 3.0.0 (2022-11-16) - §5.4 host application, §6.4 payloads: NBIRTH, DBIRTH, NDATA, DDATA,
NDEATH, DDEATH, NCMD, STATE.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from collectors.payloads.said import NotOurs, Numbered, PayloadRefused, Said, Shown
from collectors.payloads.sparkplug_wire import Metric, Payload, decode_payload, encode_flag, number_of
from gateway.domain.readings import LATEST, MICROSECONDS
from gateway.domain.sites import SPARKPLUG_B, TOPICS
from gateway.mqtt_messages import Message, Status

NAMESPACE, SEQ_MODULUS = "spBv1.0", 256
NODE_KINDS, DEVICE_KINDS = ("NBIRTH", "NDATA", "NDEATH"), ("DBIRTH", "DDATA", "DDEATH")
REBIRTH, BDSEQ = "Node Control/Rebirth", "bdSeq"
OFFLINE, UNSURE = "sparkplug.offline", "sparkplug.birth_missed"
ASK_AGAIN_US = 30 * MICROSECONDS
_LAST_MS = LATEST // 1000


class _Known(NamedTuple):
    """What a birth says of a metric."""

    device: str
    name: str
    datatype: int


class _Node:
    """What is known of one edge node. `sure`: no birth has been missed since the last that was heard."""

    def __init__(self) -> None:
        self.aliases: dict[int, _Known] = {}
        self.types: dict[tuple[str, str], int] = {}
        self.sure = False
        self.death: int | None = None  # the bdSeq that its death certificate will have
        self.asked_at = -ASK_AGAIN_US  # [us, UTC]
        self.told_alias = False

    def bear(self, device: str, metrics: Iterable[Metric]) -> None:
        """A birth of the node (device "") or of one device."""
        if not device:
            self.aliases, self.types, self.death = {}, {}, None
            self.sure, self.told_alias = True, False
        self.aliases = {alias: known for alias, known in self.aliases.items() if known.device != device}
        self.types = {key: datatype for key, datatype in self.types.items() if key[0] != device}
        for metric in metrics:
            self.types[device, metric.name] = metric.datatype
            if metric.alias is not None:
                self.aliases[metric.alias] = _Known(device, metric.name, metric.datatype)
            if metric.name == BDSEQ and metric.raw is not None:
                self.death = int(metric.raw[1])


class SparkplugB:
    """Reads the messages of the edge nodes and devices of `fields`, which holds the names of metrics by source."""

    longest = 524288  # bytes: a birth names every metric of its node
    topics: Sequence[str] = TOPICS[SPARKPLUG_B]
    standing = True

    def __init__(self, fields: Mapping[str, Iterable[str]], *, rebirth: bool = False) -> None:
        self._fields = fields
        self._nodes = {"/".join(source.split("/")[:2]): _Node() for source in fields}
        self._rebirth = rebirth
        self._replies: list[tuple[str, bytes]] = []
        self._now = 0

    def read(self, message: Message) -> tuple[Iterable[Said], Numbered | None]:
        """What a message says, metrics of one instant together. Raises PayloadRefused and NotOurs."""
        group, kind, name, device = _address(message.topic)
        node = self._nodes.get(f"{group}/{name}")
        if node is None:
            raise NotOurs(f"edge node {f'{group}/{name}'!r:.80} is not read here. This is told once.")
        self._now = message.received_at
        payload = decode_payload(message.payload)
        counter, source = f"{group}/{name}", f"{group}/{name}/{device}" if device else f"{group}/{name}"
        if kind == "NDEATH":
            return self._end_node(counter, node, payload, message.received_at), None
        if payload.timestamp_ms is None or not 0 <= payload.timestamp_ms <= _LAST_MS:
            raise PayloadRefused(f"timestamp: found {payload.timestamp_ms}; expected milliseconds since 1970, UTC")
        if payload.seq is None or payload.seq >= SEQ_MODULUS:
            raise PayloadRefused(f"seq: found {payload.seq}; expected 0 to 255")
        instant = payload.timestamp_ms * 1000
        numbered = Numbered(counter, payload.seq, instant, SEQ_MODULUS, anew=kind == "NBIRTH")
        if kind == "DDEATH":
            return self._ended([source], instant), numbered
        if kind in {"NBIRTH", "DBIRTH"}:
            if any(not metric.name for metric in payload.metrics):
                raise PayloadRefused(f"{kind} with a metric without a name")
            node.bear(device, payload.metrics)
        elif not node.sure:
            self._ask(counter, node)
        return self._said(source, device, node, payload), numbered

    def missed(self, counter: str) -> None:
        """Messages were lost, perhaps a birth: until the next one, what an alias means is in doubt."""
        node = self._nodes[counter]
        node.sure = False
        self._ask(counter, node)

    def replies(self) -> Iterable[tuple[str, bytes]]:
        """Requests for rebirth, where the site file permits them."""
        asked, self._replies = self._replies, []
        return asked

    def _said(self, source: str, device: str, node: _Node, payload: Payload) -> Iterator[Said]:
        """Lazily: by then it is known whether messages were lost before this one."""
        found: dict[tuple[int, str], dict[str, Shown]] = {}
        remarks = []
        for metric in payload.metrics:
            name, datatype, doubt = metric.name, metric.datatype, ""
            if not name:
                known = node.aliases.get(-1 if metric.alias is None else metric.alias)
                if known is None or known.device != device:
                    if not node.told_alias:
                        remarks.append(f"alias {metric.alias} is not known until the next birth. This is told once.")
                        node.told_alias = True
                    continue
                name, datatype, doubt = known.name, datatype or known.datatype, "" if node.sure else UNSURE
            datatype = datatype or node.types.get((device, name), 0)
            stamp = payload.timestamp_ms if metric.timestamp_ms is None else metric.timestamp_ms
            if stamp is None or not 0 <= stamp <= _LAST_MS:
                remarks.append(f"{name:.80}: found the timestamp {stamp}; expected milliseconds since 1970, UTC")
            elif name in self._fields.get(source, ()):
                found.setdefault((stamp * 1000, doubt), {})[name] = number_of(metric, datatype)
        if remarks and source in self._fields:
            yield Said(source, 0, {}, remarks=remarks, elsewhere=True)
        for (instant, doubt), values in found.items():
            yield Said(source, instant, values, doubt, elsewhere=True)

    def _end_node(self, counter: str, node: _Node, payload: Payload, now: int) -> Iterable[Said]:
        died = next((int(metric.raw[1]) for metric in payload.metrics if metric.name == BDSEQ and metric.raw), None)
        if node.death is not None and died is not None and died != node.death:
            return []  # the will of a session before this one
        node.sure = False
        return self._ended([name for name in self._fields if f"{name}/".startswith(f"{counter}/")], now)

    def _ended(self, sources: Iterable[str], instant: int) -> Iterable[Said]:
        return [
            Said(source, instant, dict.fromkeys(self._fields[source]), absent=OFFLINE, elsewhere=True)
            for source in sources
            if source in self._fields
        ]

    def _ask(self, counter: str, node: _Node) -> None:
        if self._rebirth and self._now - node.asked_at >= ASK_AGAIN_US:
            node.asked_at = self._now
            group, name = counter.split("/")
            self._replies.append((f"{NAMESPACE}/{group}/NCMD/{name}", encode_flag(REBIRTH, self._now // 1000)))


def host_status(host: str, now: int) -> Status:
    """What a host application says of itself at `now` [us, UTC]; birth and will of a connection have one timestamp."""
    online, offline = (json.dumps({"online": state, "timestamp": now // 1000}).encode() for state in (True, False))
    return Status(f"{NAMESPACE}/STATE/{host}", online, offline)


def _address(topic: str) -> tuple[str, str, str, str]:
    """(group, kind, edge node, device or ""). Raises NotOurs."""
    levels = topic.split("/")
    kinds = {4: NODE_KINDS, 5: DEVICE_KINDS}.get(len(levels), ())
    if levels[0] != NAMESPACE or len(levels) < 4 or levels[2] not in kinds:
        raise NotOurs(f"{topic}: no message of an edge node or a device. This is told once.")
    return levels[1], levels[2], levels[3], levels[4] if len(levels) == 5 else ""
