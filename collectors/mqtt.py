"""Readings that meters publish to an MQTT broker: taken, journaled, and only then acknowledged."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from collectors.payloads.conventions import Speaking, convention_of
from collectors.payloads.said import NotOurs, Numbered, PayloadRefused, Said
from collectors.sequences import OnLost, Sequences
from gateway.clocks import Clock
from gateway.decoding import number_decoder
from gateway.domain.readings import Quality, Reading
from gateway.domain.sites import Line, Series, Site
from gateway.mqtt_messages import Message, Subscription
from gateway.mqtt_session import MqttSession
from gateway.profile import Profile, site_profiles

PREFIX = 512  # characters of a refused payload that are kept
MOST_STRANGERS = 1000  # meters that are nobody's here and are told once each
MOST_WAITING, MOST_WAITING_BYTES = 500, 1 << 25  # messages that wait for the journal, and what they may hold

Fields = Mapping[str, Series]


class Rejected(NamedTuple):
    """A message, or a part of one, that no reading could be made of."""

    topic: str
    reason: str
    payload: str  # its first characters; bytes that are not UTF-8 as \\xNN
    at: int  # when it came [us, UTC]


class MqttCollector:
    """One broker. Yields all readings that wait as one list, and acknowledges them when the next is asked for.

    What cannot be booked goes to `on_rejected`, and what is missing in a publisher's count to `on_lost`, at once;
    messages are acknowledged with their list, and the caller answers for the durability of all three. A list may
    be empty. Nothing else of the same message or list is lost.
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
        on_lost: OnLost,
        sequences: Sequences,
    ) -> None:
        self.line = line.id
        self.sequences = sequences
        self._speaking = convention_of(line, site, site_profiles(site) if profiles is None else profiles)
        self._convention = self._speaking.convention
        self._fields = self._speaking.fields
        # Of a count that is divided among several readers, each sees gaps that are none.
        self._counted = {} if line.share else _series_by_counter(self._fields)
        self._on_rejected, self._on_lost = on_rejected, on_lost
        self._decoders: dict[tuple[str, str | None], Callable[[Decimal], int | float]] = {}  # by series and unit
        self._strangers: set[str] = set()
        self._session = MqttSession(subscription(line, site, self._speaking), clock, password=password)

    @property
    def trouble(self) -> str:
        """How the connection stands, as a sentence; "" while connected and subscribed."""
        return self._session.trouble

    async def readings(self) -> AsyncGenerator[list[Reading], None]:
        """Lists of readings for as long as it is iterated. Raises ConfigError when a TLS file cannot be used."""
        self.sequences.begin()
        async with self._session as session:
            while True:
                messages = await session.waiting()
                readings: list[Reading] = []
                for message in messages:
                    self._read(message, readings)
                for topic, payload in self._convention.replies():
                    session.publish(topic, payload)
                yield readings
                session.acknowledge(*messages)

    def _read(self, message: Message, readings: list[Reading]) -> None:
        try:
            said, numbered = self._understand(message)
        except PayloadRefused as refusal:
            self._reject(message, str(refusal))
            return
        except NotOurs as stranger:
            self._pass_by(message, str(stranger))
            return
        series = self._counted.get(numbered.counter) if numbered is not None else None
        if numbered is not None and series is not None:
            lost = self.sequences.take(numbered)
            if lost is not None:
                self._on_lost(lost, series)
                self._convention.missed(numbered.counter)
        for one in said:
            fields = self._fields.get(one.source)
            if fields is None:
                self._nobodys(message, one)
            else:
                self._read_one(message, one, fields, readings)

    def _understand(self, message: Message) -> tuple[Iterable[Said], Numbered | None]:
        if message.retain:
            raise PayloadRefused("retained by the broker: never fresh. Publish readings without the retain flag")
        if message.size > self._convention.longest:
            raise PayloadRefused(f"{message.size} bytes; expected at most {self._convention.longest}")
        return self._convention.read(message)

    def _read_one(self, message: Message, said: Said, fields: Fields, readings: list[Reading]) -> None:
        for remark in said.remarks:
            self._reject(message, remark)
        for field in said.values:
            try:
                series = fields.get(field)
                if series is not None:
                    readings.append(self._reading(series, field, said))
                elif not said.elsewhere:
                    known = ", ".join(sorted(fields))
                    raise ValueError(f"values.{field:.80}: {said.source!r} has no such field; known: {known}")  # noqa: TRY301 - told as the others are
            except ValueError as refusal:
                self._reject(message, str(refusal))

    def _reading(self, series: Series, field: str, said: Said) -> Reading:
        """One reading of one field. Raises ValueError with the reason why there is none."""
        key, number = series.key, said.values[field]
        if number is None:
            return Reading(key, said.instant, None, Quality.MISSING, said.absent)
        if isinstance(number, str):
            raise ValueError(f"values.{field}: {number}")  # noqa: TRY004 - the value is wrong, not the program
        unit = said.units.get(field)
        decode = self._decoders.get((key, unit))
        if decode is None:
            decode = self._decoders[key, unit] = number_decoder(series.register, ratio=series.ratio, unit=unit)
        if said.doubt:
            return Reading(key, said.instant, decode(number), Quality.SUSPECT, said.doubt)
        return Reading(key, said.instant, decode(number))

    def _nobodys(self, message: Message, said: Said) -> None:
        known = ", ".join(sorted(self._fields)[:8])
        why = f"{said.source!r:.80} is not read by line {self.line!r}; known: {known}"
        if said.elsewhere:
            self._pass_by(message, f"{why}. This is told once.", said.source)
        else:
            self._reject(message, why)

    def _pass_by(self, message: Message, why: str, who: str = "") -> None:
        """Not ours, and nothing wrong with it: told once for each, so that a busy neighbour fills no journal."""
        who = who or message.topic
        if who not in self._strangers and len(self._strangers) < MOST_STRANGERS:
            self._strangers.add(who)
            self._reject(message, why)

    def _reject(self, message: Message, reason: str) -> None:
        prefix = message.payload[: 4 * PREFIX].decode("utf-8", errors="backslashreplace")[:PREFIX]
        # A lone surrogate, which JSON can spell and UTF-8 cannot, must not keep the refusal out of the journal.
        topic, reason = (text.encode("utf-8", "backslashreplace").decode() for text in (message.topic, reason))
        self._on_rejected(Rejected(topic, reason, prefix, message.received_at))


def _series_by_counter(fields_by_source: Mapping[str, Fields]) -> dict[str, list[str]]:
    """The series that a lost message would have brought, by the counter: a source, or what several begin with."""
    found: dict[str, list[str]] = {}
    for source, fields in fields_by_source.items():
        levels = source.split("/")
        for length in range(1, len(levels) + 1):
            found.setdefault("/".join(levels[:length]), []).extend(series.key for series in fields.values())
    return found


def subscription(line: Line, site: Site, speaking: Speaking) -> Subscription:
    """What this line asks of its broker. Without a client_id the session is named after gateway and line."""
    longest = speaking.convention.longest
    return Subscription(
        host=line.host,
        port=line.port,
        client_id=line.client_id or f"emg-{site.gateway_id}-{line.id}",
        topics=(line.topic,) if line.topic else speaking.convention.topics,
        version=line.version,
        username=line.username,
        share=line.share,
        tls_ca=line.tls_ca,
        tls_cert=line.tls_cert,
        tls_key=line.tls_key,
        standing=speaking.convention.standing,
        status=speaking.status,
        longest_payload=longest,
        receive_maximum=min(MOST_WAITING, MOST_WAITING_BYTES // longest),
    )
