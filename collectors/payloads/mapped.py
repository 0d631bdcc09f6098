"""Messages of a convention that a payload mapping declares: plain JSON or plain text."""

import re
from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from collectors.payloads.json_text import NoNumber, exact, read_json, shown, shown_number, whole
from collectors.payloads.said import LONGEST_PAYLOAD, NotOurs, Numbered, PayloadRefused, Said, Shown
from gateway.domain.periods import iso, to_instant
from gateway.domain.readings import INSTANTS, is_instant
from gateway.mqtt_messages import Message
from gateway.payload_mapping import IN_TEXT, RECEIVED, MappedValue, PayloadMapping, Steps

_LAST_US = 253_402_300_800_000_000  # year 10000
_NOTHING = object()  # what stands where the way leads nowhere
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)


class Mapped:
    """Reads messages by one mapping. `zone` is that of times without an offset; `sources` are the meters read here."""

    longest = LONGEST_PAYLOAD

    def __init__(self, mapping: PayloadMapping, sources: Container[str], zone: str = "") -> None:
        self.topics: Sequence[str] = (mapping.filter,)
        # What waited at the broker and does not say when it was measured is worth nothing.
        self.standing = mapping.time.form != RECEIVED
        self._mapping = mapping
        self._sources = sources
        declared = zone if mapping.needs_zone else mapping.time.zone
        self._zone = ZoneInfo(declared) if declared not in {"", IN_TEXT} else None

    def read(self, message: Message) -> tuple[Iterable[Said], Numbered | None]:
        """What a message says, one Said a meter. Raises PayloadRefused and NotOurs."""
        parts = self._parts(message.topic)
        wanted = [value for value in self._mapping.values if _fits(value, parts)]
        if not wanted:
            raise NotOurs(f"{message.topic}: mapping {self._mapping.file.name} has no value for it. This is told once.")
        sources = dict.fromkeys(value.meter.format_map(parts) for value in wanted)
        if not any(source in self._sources for source in sources):
            names = ", ".join(repr(source) for source in sources)
            raise NotOurs(f"{names:.80}: no meter of this line is called so. This is told once.")
        document = _document(message.payload, wanted)
        found: dict[str, dict[str, Shown]] = {}
        units = {}
        for value in wanted:
            source, shows = value.meter.format_map(parts), _at(document, value.steps)
            if shows is not _NOTHING and source in self._sources:
                found.setdefault(source, {})[value.quantity] = _number(shows, value)
                units[value.quantity] = value.unit
        if not found:
            raise NotOurs(f"{message.topic}: nothing of what the mapping declares is in it. This is told once.")
        instant = self._instant(document, message)
        if not is_instant(instant):
            path = self._mapping.time.path
            raise PayloadRefused(f"{path}: found {iso(instant)}; expected {INSTANTS}")
        said = [Said(source, instant, values, units=units, elsewhere=True) for source, values in found.items()]
        return said, self._numbered(document, next(iter(found)), instant)

    def missed(self, counter: str) -> None:
        """Nothing: what a message means does not rest on those before it."""

    def replies(self) -> Iterable[tuple[str, bytes]]:
        """Nothing: a mapping only listens."""
        return ()

    def _parts(self, topic: str) -> dict[str, str]:
        levels, pattern = topic.split("/"), self._mapping.topic
        if len(levels) != len(pattern) or any(
            text and text != level for level, (text, _) in zip(levels, pattern, strict=True)
        ):
            raise NotOurs(f"{topic}: not the topic that mapping {self._mapping.file.name} reads. This is told once.")
        return {name: level for level, (_, name) in zip(levels, pattern, strict=True) if name}

    def _numbered(self, document: object, counter: str, instant: int) -> Numbered | None:
        if self._mapping.sequence is None:
            return None
        value = _at(document, self._mapping.sequence)
        number = None if value is _NOTHING else whole(value, "sequence")
        return None if number is None else Numbered(counter, number, instant, self._mapping.modulus)

    def _instant(self, document: object, message: Message) -> int:
        form = self._mapping.time.form
        if form == RECEIVED:
            return message.received_at
        value, path = _at(document, self._mapping.time_steps), self._mapping.time.path
        if value is _NOTHING or value is None:
            raise PayloadRefused(f"{path}: found nothing; expected the time of the reading, as the mapping declares it")
        if form == "iso":
            return self._iso(value, path)
        if not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value < _LAST_US:
            raise PayloadRefused(f"{path}: found {shown(value)}; expected a number of time, {form}")
        instant = int(value * (1_000_000 if form == "unix-s" else 1_000))
        if instant >= _LAST_US:
            raise PayloadRefused(f"{path}: found {shown(value)}; expected a time before the year 10000, {form}")
        return instant

    def _iso(self, value: object, path: str) -> int:
        if not isinstance(value, str) or isinstance(value, NoNumber):
            raise PayloadRefused(f"{path}: found {shown(value)}; expected ISO 8601 text")
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise PayloadRefused(f"{path}: found {value!r:.60}; expected ISO 8601, e.g. 2026-11-24T03:00:00") from error
        if moment.tzinfo is not None:
            return to_instant(moment)
        if self._zone is None:
            raise PayloadRefused(
                f"{path}: found {value!r:.60} without its offset, which the mapping says is in the text"
            )
        early, late = (moment.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        if early.utcoffset() != late.utcoffset():
            raise PayloadRefused(
                f"{path}: found {value!r:.60}, an hour that {self._zone.key} has twice or not at all on that day"
            )
        return to_instant(early)


def _fits(value: MappedValue, parts: dict[str, str]) -> bool:
    return all(parts[name] == text for name, text in value.when.items())


def _document(payload: bytes, wanted: Sequence[MappedValue]) -> object:
    """The document; plain text as such where a value is all of it and has words. Raises PayloadRefused."""
    if any(value.words and not value.steps for value in wanted):
        text = payload.decode("utf-8", errors="replace")
        if any(text in value.words for value in wanted):
            return text
    return read_json(payload)


def _at(document: object, steps: Steps) -> object:
    """What stands at the end of the way; `_NOTHING` where there is no such way."""
    for step in steps:
        if isinstance(step, int):
            if not isinstance(document, list) or step >= len(document):
                return _NOTHING
            document = document[step]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return _NOTHING
    return document


def _number(value: object, mapped: MappedValue) -> Shown:
    word = str(value).lower() if isinstance(value, bool) else value
    if isinstance(word, str) and not isinstance(value, NoNumber):
        if word in mapped.words:
            return mapped.words[word]
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = exact(value)
    return shown_number(value)
