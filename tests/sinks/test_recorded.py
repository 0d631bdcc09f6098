"""The cursor in the book: where a server may lose what it acknowledged it waits, and goes back when it was started anew."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.clocks import Clock, SystemClock
from gateway.contracts import Delivery, Sink
from gateway.domain.destinations import InfluxServer, SinkKind, SinkSettings
from gateway.domain.readings import MICROSECONDS
from gateway.errors import SinkBusy, StoreError
from gateway.journal.writer import Journal
from gateway.sinks.delivery_book import DeliveryBook
from gateway.sinks.drain import drain_forever
from gateway.sinks.draining import READING_STORE, Drained, keep_draining
from gateway.sinks.outlet import Item, Sent
from gateway.sinks.plant_days import PlantDays
from gateway.sinks.recorded import RecordedSink
from gateway.stores.embedded import EmbeddedStore
from tests.sinks.conftest import START, entry, totals
from tests.sinks.test_trouble import until

SERVER = InfluxServer(url="http://127.0.0.1:1", database="emg")


class Memory:
    """An outlet of the test's own: what it got, and what it says of itself."""

    def __init__(self) -> None:
        self.got: list[Item] = []
        self.instance = "first"
        self.trouble: StoreError | None = None

    def send(self, items: Sequence[Item]) -> Sent:
        if self.trouble is not None:
            raise self.trouble
        self.got += items
        return Sent()

    def started(self) -> str:
        return self.instance

    def close(self) -> None:
        pass


@pytest.fixture
def book(plant):
    plant.site()
    with DeliveryBook.open(plant.folder / "data") as opened:
        opened.enrol("copy", "somewhere")
        yield opened


def recorded(plant, book, outlet, **options) -> RecordedSink:
    settings = SinkSettings(id="copy", kind=SinkKind.VICTORIAMETRICS, influx=SERVER, **options)
    days = PlantDays("Asia/Shanghai")
    return RecordedSink(settings, outlet, book, data_dir=plant.folder / "data", days=days, clock=plant.clock)


def wait(plant, seconds: float) -> None:
    plant.clock._now += int(seconds * MICROSECONDS)


def one(number: int) -> list[Delivery]:
    return [Delivery(number, totals(number, 1), b"%d" % number)]


def test_the_cursor_in_the_book_trails_by_the_declared_lag(plant, book):
    sink = recorded(plant, book, Memory(), ack_lag_s=30)
    sink.deliver(one(1))
    wait(plant, 20)
    sink.deliver(one(2))
    assert (sink.cursor(), book.standing("copy").sequence) == (2, 0)
    assert book.standing("copy").succeeded == plant.clock.now()
    wait(plant, 11)
    assert sink.rest() is False
    assert (sink.cursor(), book.standing("copy").sequence, book.standing("copy").delivered) == (2, 1, 1)
    wait(plant, 30)
    sink.rest()
    assert book.standing("copy").sequence == 2
    assert book.standing("copy").witness == b"2"


def test_a_server_that_was_started_anew_gets_everything_behind_the_book_again(plant, book):
    outlet = Memory()
    sink = recorded(plant, book, outlet, ack_lag_s=30)
    sink.deliver(one(1))
    wait(plant, 31)
    sink.rest()
    sink.deliver(one(2))
    sink.deliver(one(3))
    outlet.instance = "second"  # killed and up again before anybody noticed
    wait(plant, 31)
    with pytest.raises(SinkBusy, match="everything behind entry 1 is sent again"):
        sink.deliver(one(4))
    assert sink.cursor() == 1
    for number in (2, 3, 4):
        sink.deliver(one(number))
    wait(plant, 31)
    sink.rest()
    assert book.standing("copy").sequence == 4
    assert [item.sequence for item in outlet.got] == [1, 2, 3, 2, 3, 4]


def test_after_a_failure_the_server_is_asked_at_once_whether_it_is_the_same(plant, book):
    outlet = Memory()
    sink = recorded(plant, book, outlet, ack_lag_s=30)
    sink.deliver(one(1))
    outlet.trouble = SinkBusy("503")
    with pytest.raises(SinkBusy):
        sink.deliver(one(2))
    outlet.trouble = None
    sink.deliver(one(2))  # the same server: it has lost nothing
    assert [item.sequence for item in outlet.got] == [1, 2]
    outlet.trouble = SinkBusy("503")
    with pytest.raises(SinkBusy):
        sink.deliver(one(3))
    outlet.trouble, outlet.instance = None, "second"
    with pytest.raises(SinkBusy, match="started anew"):
        sink.deliver(one(3))
    assert sink.cursor() == 0


def test_where_nobody_can_tell_whether_it_was_started_anew_a_lost_connection_counts_as_that(plant, book):
    outlet = Memory()
    outlet.instance = ""
    sink = recorded(plant, book, outlet, ack_lag_s=30)
    sink.deliver(one(1))
    outlet.trouble = SinkBusy("answered 503")
    with pytest.raises(SinkBusy):
        sink.deliver(one(2))
    assert sink.cursor() == 1
    outlet.trouble = SinkBusy("did not answer")
    outlet.trouble.__cause__ = ConnectionResetError()
    with pytest.raises(SinkBusy):
        sink.deliver(one(2))
    assert sink.cursor() == 0


def test_what_the_server_would_drop_by_age_is_not_sent(plant, book):
    outlet = Memory()
    sink = recorded(plant, book, outlet)
    sink.settings = replace(sink.settings, influx=replace(SERVER, keep_days=1))
    wait(plant, 86_400)
    sink.deliver([Delivery(1, totals(-2, 4), b"")])
    assert [item.reading.instant for item in outlet.got] == [START, START + 60 * MICROSECONDS]
    assert book.standing("copy").sequence == 1


class Hanging:
    """A sink that never comes back from its first delivery."""

    name = "hanging"

    def __init__(self) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def cursor(self) -> int:
        return 0

    def witness(self) -> bytes:
        return b""

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.begun.set()
        self.may_go_on.wait(30)
        raise StoreError("it hung")


def draining_all(sinks: dict[str, Sink], journal: Journal, book: DeliveryBook, clock: Clock | None = None):
    drained = [Drained(name, sink, book, clock=clock or SystemClock(), pace_s=0) for name, sink in sinks.items()]
    return asyncio.create_task(keep_draining(journal, journal.directory, drained))


async def test_sinks_that_hang_hold_up_neither_the_store_nor_the_journal(plant, book):
    hanging = [Hanging() for _ in range(40)]  # more than the threads that the event loop shares out
    for number, sink in enumerate(hanging):
        sink.name = f"hanging-{number}"
    for name in (READING_STORE, *(sink.name for sink in hanging)):
        book.enrol(name, "")
    with plant.journal() as journal, EmbeddedStore.open(plant.folder / "data" / "readings.db") as store:
        draining = draining_all({READING_STORE: store, **{sink.name: sink for sink in hanging}}, journal, book)
        last = await journal.append(*entry(totals(0, 5)))
        await until(lambda: all(sink.begun.is_set() for sink in hanging), "all hang")
        last = await journal.append(*entry(totals(5, 5)))
        await until(lambda: store.cursor() == last, "the store goes on")
        assert (store.cursor(), journal.durable_sequence) == (last, last)
        assert not any(sink.may_go_on.is_set() for sink in hanging)  # every one of them still hangs
        draining.cancel()
        for sink in hanging:
            sink.may_go_on.set()
        await asyncio.wait({draining})


async def test_a_fault_of_ours_in_one_sink_is_told_and_ends_nothing(plant, book, caplog):
    class Faulty(Hanging):
        def deliver(self, deliveries: Sequence[Delivery]) -> None:
            raise ZeroDivisionError("a bug")

    sink = Faulty()
    sink.name = "copy"
    book.enrol(READING_STORE, "embedded")
    with plant.journal() as journal, EmbeddedStore.open(plant.folder / "data" / "readings.db") as store:
        draining = draining_all({READING_STORE: store, "copy": sink}, journal, book, plant.clock)
        last = await journal.append(*entry(totals(0, 5)))
        await until(lambda: store.cursor() == last, "the store goes on")
        await until(lambda: "a bug" in book.standing("copy").error, "it is told")
        assert not draining.done()
        draining.cancel()
        await asyncio.wait({draining})
    assert "a bug" in caplog.text


async def test_a_sink_rests_step_by_step_while_nothing_waits_and_no_longer(plant, tmp_path):
    class Resting:
        name = "resting"

        def __init__(self) -> None:
            self.said: list[str] = []
            self.at = (0, b"")

        def cursor(self) -> int:
            return self.at[0]

        def witness(self) -> bytes:
            return self.at[1]

        def deliver(self, deliveries: Sequence[Delivery]) -> None:
            self.said.append("delivery")
            self.at = (deliveries[-1].sequence, deliveries[-1].digest)

        def rest(self) -> bool:
            self.said.append("step")
            if self.said.count("step") == 3:  # meanwhile something arrives: it comes before the next step
                asyncio.run_coroutine_threadsafe(journal.append(*entry(totals(5, 1))), loop).result(10)
            return self.said.count("step") < 10

    loop = asyncio.get_running_loop()
    sink = Resting()
    with plant.journal() as journal:
        await journal.append(*entry(totals(0, 5)))
        draining = asyncio.create_task(drain_forever(journal, journal.directory, sink, on_error=print, pace_s=0))
        await until(lambda: sink.said.count("step") >= 10, "it rested")
        draining.cancel()
        await asyncio.wait({draining})
    assert sink.said[:5] == ["delivery", "step", "step", "step", "delivery"]
