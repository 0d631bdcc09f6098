"""Readings that meters publish to an MQTT broker: taken, journaled, and only then acknowledged."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import NamedTuple

from collectors.payloads.emg_v1 import LONGEST_PAYLOAD, Address, Payload, PayloadRefused, read_payload, read_topic
from gateway.clocks import Clock
from gateway.decoding import decode_number
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Line, Series, Site
from gateway.mqtt_messages import Message, Subscription
from gateway.mqtt_session import MqttSession
from gateway.profile import Profile, site_profiles

PREFIX = 512  # characters of a refused payload that are kept
DEFAULT_PORT, DEFAULT_TLS_PORT = 1883, 8883

Fields = Mapping[str, Series]


class Rejected(NamedTuple):
    """A message, or a part of one, that no reading could be made of."""

    topic: str
    reason: str
    payload: str  # its first characters; bytes that are not UTF-8 as \\xNN
    at: int  # when it came [us, UTC]


class MqttCollector:
    """One broker. Yields all readings that wait as one list, and acknowledges them when the next is asked for.

    What cannot be booked goes to `on_rejected` at once and is acknowledged with its list, whose durability
    the caller answers for; a list may therefore be empty. Nothing else of the same message or list is lost.
    """

    def __init__(
        self,
        line: Line,
        site: Site,
        clock: Clock,
        password: str,
        *,
        profiles: Mapping[str, Profile] | None = None,
        on_rejected: Callable[[Rejected], None],
    ) -> None:
        self.line = line.id
        self._fields = fields_by_point(site, line, site_profiles(site) if profiles is None else profiles)
        self._on_rejected = on_rejected
        self._session = MqttSession(subscription(line, site), clock, password=password)

    @property
    def trouble(self) -> str:
        """How the connection stands, as a sentence; "" while connected and subscribed."""
        return self._session.trouble

    async def readings(self) -> AsyncGenerator[list[Reading], None]:
        """Lists of readings for as long as it is iterated. Raises ConfigError when the CA file cannot be used."""
        async with self._session as session:
            while True:
                messages = await session.waiting()
                yield [reading for message in messages for reading in self._read(message)]
                for message in messages:
                    session.acknowledge(message)

    def _read(self, message: Message) -> list[Reading]:
        try:
            address, payload, fields = self._understand(message)
        except PayloadRefused as refusal:
            self._reject(message, str(refusal))
            return []
        for remark in payload.remarks:
            self._reject(message, remark)
        readings = []
        for field in payload.values:
            try:
                readings.append(_reading(address, fields, field, payload))
            except ValueError as refusal:
                self._reject(message, str(refusal))
        return readings

    def _understand(self, message: Message) -> tuple[Address, Payload, Fields]:
        address = read_topic(message.topic)
        fields = self._fields.get((address.enterprise, address.point))
        if fields is None:
            raise PayloadRefused(
                f"no point {address.point!r} of enterprise {address.enterprise!r} is read by line {self.line!r}; "
                f"known: {', '.join('/'.join(known) for known in sorted(self._fields)[:8])}"
            )
        if message.retain:
            raise PayloadRefused("retained by the broker: never fresh. Publish readings without the retain flag")
        if message.size > LONGEST_PAYLOAD:
            raise PayloadRefused(f"{message.size} bytes; expected at most {LONGEST_PAYLOAD}")
        return address, read_payload(message.payload), fields

    def _reject(self, message: Message, reason: str) -> None:
        prefix = message.payload[: 4 * PREFIX].decode("utf-8", errors="backslashreplace")[:PREFIX]
        # A lone surrogate, which JSON can spell and UTF-8 cannot, must not keep the refusal out of the journal.
        topic, reason = (text.encode("utf-8", "backslashreplace").decode() for text in (message.topic, reason))
        self._on_rejected(Rejected(topic, reason, prefix, message.received_at))


def _reading(address: Address, fields: Fields, field: str, payload: Payload) -> Reading:
    """One reading of one field. Raises ValueError with the reason why there is none."""
    series = fields.get(field)
    if series is None:
        known = ", ".join(sorted(fields))
        raise ValueError(f"values.{field:.80}: point {address.point!r} has no such field; known: {known}")
    number = payload.values[field]
    if number is None:
        return Reading(series.key, payload.instant, None, Quality.MISSING, "message.no_value")
    if isinstance(number, str):
        raise ValueError(f"values.{field}: {number}")  # noqa: TRY004 - the value is wrong, not the program
    value = decode_number(series.register, number, ratio=series.ratio)
    if payload.doubt:
        return Reading(series.key, payload.instant, value, Quality.SUSPECT, f"publisher.q.{payload.doubt}")
    return Reading(series.key, payload.instant, value)


def fields_by_point(site: Site, line: Line, profiles: Mapping[str, Profile]) -> dict[tuple[str, str], Fields]:
    """{(enterprise, point): {field of a message: series}} of all points that this line reads."""
    found: dict[tuple[str, str], Fields] = {}
    for point in site.points.values():
        meter = site.meters.get(point.meter)
        if meter is None or meter.line != line.id:
            continue
        registers = profiles[meter.profile].registers
        found[point.enterprise, point.id] = {
            registers[series.register.quantity].field or series.register.quantity: series
            for series in site.series_of(point)
        }
    return found


def subscription(line: Line, site: Site) -> Subscription:
    """What this line asks of its broker. Without a client_id the session is named after gateway and line."""
    return Subscription(
        host=line.host,
        port=line.port or (DEFAULT_TLS_PORT if line.tls_ca else DEFAULT_PORT),
        client_id=line.client_id or f"emg-{site.gateway_id}-{line.id}",
        topics=(line.topic,),
        version=line.version,
        username=line.username,
        tls_ca=line.tls_ca,
        longest_payload=LONGEST_PAYLOAD,
    )
