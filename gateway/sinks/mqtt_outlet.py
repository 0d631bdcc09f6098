"""Every reading republished to a broker: <topic>/<enterprise>/<point>/<quantity>, one JSON object each, QoS 1.

The newest usable reading of a topic is retained; late and missing ones pass by. A broker that was lost on the way gets
some messages twice: `sequence` and `place` tell a repeat.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import orjson

from gateway.domain.destinations import SinkSettings
from gateway.domain.periods import iso
from gateway.domain.readings import Quality, Reading, quality_words
from gateway.domain.sites import Series, Site
from gateway.errors import ConfigError, StoreError
from gateway.mqtt_publishing import Publisher
from gateway.sinks.delivery_book import DeliveryBook
from gateway.sinks.home_assistant import discovery_messages
from gateway.sinks.outlet import Item, Refused, Sent
from gateway.sinks.rendering import shown
from gateway.stores.line_protocol import series_tags

NEWEST = "newest:"  # before a series in the book's marks: the instant of what is retained of it [us, UTC]
_Message = tuple[bool, str, bytes]  # retained?, topic, payload


class MqttOutlet:
    """The way to one broker. What Home Assistant needs to know is published once per start, and after trouble."""

    def __init__(self, settings: SinkSettings, site: Site, publisher: Publisher, book: DeliveryBook) -> None:
        self._topic, self._publisher, self._timezone = settings.topic, publisher, site.timezone
        self._known: Mapping[str, Series] = site.series
        self._discovery = discovery_messages(site, settings) if settings.discovery else []
        self._told = False
        marks = book.marks(settings.id, NEWEST)  # of earlier runs: a late reading must not replace what they left
        self._newest = {mark.removeprefix(NEWEST): instant for mark, instant in marks.items()}

    def send(self, items: Sequence[Item]) -> Sent:
        """Publish these in their order; returns when the broker has acknowledged all. Raises SinkBusy and its kin."""
        refused: list[Refused] = []
        messages = list(self._messages(items, refused))
        try:
            if not self._told:
                self._publisher.publish_all(self._discovery, retain=True)
                self._told = True
            for retained, group in groupby(messages, key=lambda message: message[0]):
                self._publisher.publish_all([message[1:] for message in group], retain=retained)
        except ConfigError as error:
            raise StoreError(str(error)) from error
        except StoreError:
            self._told = False  # a broker that was started anew may have forgotten what it retained
            raise
        series = {item.reading.series for item in items} & self._newest.keys()
        return Sent(refused, {NEWEST + one: self._newest[one] for one in series})

    def started(self) -> str:
        """Nothing: what was acknowledged has arrived."""
        return ""

    def close(self) -> None:
        """Say goodbye to the broker."""
        self._publisher.close()

    def _messages(self, items: Sequence[Item], refused: list[Refused]) -> Iterator[_Message]:
        for item in items:
            reading = item.reading
            try:
                levels = series_tags(reading.series).values()
            except StoreError as error:
                refused.append(Refused(item, reading.series, str(error)))
                continue
            usable = reading.value is not None and not reading.quality & Quality.MISSING
            retained = usable and reading.instant >= self._newest.get(reading.series, reading.instant)
            if retained:
                self._newest[reading.series] = reading.instant
            yield retained, "/".join((self._topic, *levels)), self._payload(item, reading)

    def _payload(self, item: Item, reading: Reading) -> bytes:
        value, unit = shown(reading, self._known)
        return orjson.dumps(
            {
                "series": reading.series,
                "instant": iso(reading.instant, self._timezone),
                "value": _number(value),
                "text": value,
                "unit": unit,
                "quality": quality_words(reading.quality),
                "reason": reading.reason,
                "sequence": item.sequence,
                "place": item.place,
            }
        )


def _number(text: str) -> int | float | None:
    """The nearest number that JSON readers have; the text beside it is exact."""
    if not text:
        return None
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
