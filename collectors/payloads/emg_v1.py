"""The product's own MQTT convention: `emg/v1/<enterprise>/<site>/<point>/reading`, one JSON object a reading.

    {"ts": "2026-11-24T03:00:00Z", "seq": 7, "values": {"volume": 123.45, "volume_flow": 1.2}, "q": 0}

`ts` is the sampling instant, ISO 8601 with its offset. `values` holds numbers by field, each as the meter shows
it, null where the meter showed nothing. `q` is 0 for a good reading, otherwise the publisher's own code of
doubt. `seq` counts the messages of a point: a number that is left out is a message that was lost before it came here.

Source: RFC 8259 - The JavaScript Object Notation (JSON) Data Interchange Format - §6 (no NaN, no infinity);
RFC 3339 - Date and Time on the Internet: Timestamps - §5.6.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from collectors.payloads.json_text import NoNumber, read_json, read_plain_json, shown, shown_number, whole
from collectors.payloads.said import LONGEST_PAYLOAD, Numbered, PayloadRefused, Said, Shown
from gateway.domain.periods import to_instant
from gateway.domain.readings import INSTANTS, is_identifier, is_instant
from gateway.domain.sites import EMG, TOPICS
from gateway.mqtt_messages import Message

KEYS = frozenset({"ts", "seq", "values", "q"})


class Address(NamedTuple):
    """What the topic says."""

    enterprise: str
    site: str
    point: str


class Payload(NamedTuple):
    """What the message says. A value is None where the meter showed nothing, a sentence where it is no number."""

    instant: int  # [us, UTC]
    values: Mapping[str, Shown]
    doubt: int  # 0 = good
    seq: int | None
    remarks: tuple[str, ...] = ()  # what was not understood, beside readings that were


class EmgV1:
    """Reads the messages of this convention. A source is `<enterprise>/<point>`."""

    topics: Sequence[str] = TOPICS[EMG]
    standing = True
    longest = LONGEST_PAYLOAD

    def read(self, message: Message) -> tuple[Iterable[Said], Numbered | None]:
        """What a message says, and its place in the point's count. Raises PayloadRefused."""
        address = read_topic(message.topic)
        source = f"{address.enterprise}/{address.point}"
        payload = read_payload(message.payload)
        doubt = f"publisher.q.{payload.doubt}" if payload.doubt else ""
        numbered = None if payload.seq is None else Numbered(source, payload.seq, payload.instant)
        return [Said(source, payload.instant, payload.values, doubt, remarks=payload.remarks)], numbered

    def missed(self, counter: str) -> None:
        """Nothing: what a message means does not rest on those before it."""

    def replies(self) -> Iterable[tuple[str, bytes]]:
        """Nothing: this convention only listens."""
        return ()


@lru_cache(maxsize=4096)
def read_topic(topic: str) -> Address:
    """The parts of a reading's topic. Raises PayloadRefused."""
    levels = topic.split("/")
    if len(levels) != 6 or levels[:2] != ["emg", "v1"] or levels[5] != "reading":
        raise PayloadRefused("wrong topic; expected emg/v1/<enterprise>/<site>/<point>/reading")
    address = Address(*levels[2:5])
    for name, level in zip(Address._fields, address, strict=True):
        if not is_identifier(level):
            raise PayloadRefused(f"{name} in the topic: found {level!r:.80}; expected letters, digits, '_', '.' or '-'")
    return address


def read_payload(payload: bytes) -> Payload:
    """The message, numbers kept exact. Raises PayloadRefused."""
    if len(payload) > LONGEST_PAYLOAD:
        raise PayloadRefused(f"{len(payload)} bytes; expected at most {LONGEST_PAYLOAD}")
    plain = read_plain_json(payload)
    document = read_json(payload) if plain is None else plain
    if not isinstance(document, dict):
        raise PayloadRefused(f"found {shown(document)}; expected a JSON object")
    values = document.get("values")
    if not isinstance(values, dict) or not values:
        raise PayloadRefused("values: expected an object with at least one number by field")
    numbers = {field: shown_number(value) for field, value in values.items()}
    remarks = () if document.keys() <= KEYS else tuple(_unknown(document))
    doubt, seq = whole(document.get("q"), "q") or 0, whole(document.get("seq"), "seq")
    return Payload(_instant(document.get("ts")), numbers, doubt, seq, remarks)


def _unknown(document: Mapping[str, object]) -> list[str]:
    return [
        f"unknown key {key!r:.80}; expected only {', '.join(sorted(KEYS))}"
        for key in sorted(document.keys() - KEYS)[:3]
    ]


def _instant(value: object) -> int:
    if not isinstance(value, str) or isinstance(value, NoNumber):
        raise PayloadRefused(f"ts: found {shown(value)}; expected ISO 8601 text with its offset")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise PayloadRefused(f"ts: found {value!r:.60}; expected ISO 8601, e.g. 2026-11-24T03:00:00Z") from error
    if moment.tzinfo is None:
        raise PayloadRefused(
            f"ts: found {value!r:.60} without its offset; expected e.g. 2026-11-24T03:00:00Z or +08:00"
        )
    instant = to_instant(moment)
    if not is_instant(instant):
        raise PayloadRefused(f"ts: found {value!r:.60}; expected {INSTANTS}")
    return instant
