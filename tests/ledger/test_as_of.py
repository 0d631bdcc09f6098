"""As-of queries against the plainest model: of the statements known by then, the last one about a day holds."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.instruments import AccuracyClass, Instrument, InstrumentState
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Enterprise, Site
from gateway.ledger.booking import Entry
from gateway.ledger.ledger import Ledger
from gateway.ledger.opening import open_ledger
from gateway.ledger.topology import record_topology

NOON = 1_793_246_400_000_000  # 2026-10-29 04:00 UTC = noon in Shanghai


def entry(at: int, reason: str = "as reported") -> Entry:
    return Entry(recorded_at=at, recorded_by="Li Wei", reason=reason)


FIRST = date(2026, 1, 1)
numbers = count()
statement = st.tuples(
    st.sampled_from([*InstrumentState, None]),  # None: withdrawn from the day on
    st.integers(0, 8),  # first day
    st.one_of(st.none(), st.integers(1, 8)),  # days that it holds
    st.integers(0, 2),  # time since the entry before [us]
)


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    folder: Path = tmp_path_factory.mktemp("asof")
    bare = Site(
        name="works",
        timezone="Asia/Shanghai",
        file=folder / "site.toml",
        data_dir=folder,
        gateway_id="gw-1",
        enterprises={"works": Enterprise(id="works", name_zh="厂", name_en="works")},
        lines={},
        meters={},
        points={},
        accounts=(),
    )
    with closing(open_ledger(bare, read_only=False)) as opened:
        record_topology(bare, opened, recorded_at=0, recorded_by="site file")
        yield opened


def instrument(name: str, state: InstrumentState) -> Instrument:
    return Instrument(
        id=name,
        enterprise="works",
        point="",
        name_zh="",
        name_en="",
        kind="",
        maker="",
        model="",
        serial="",
        accuracy_class=AccuracyClass("0.5S"),
        measuring_range="",
        place="",
        state=state,
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(statement, min_size=1, max_size=6))
def test_as_of_any_instant_and_on_any_day_the_last_statement_known_then_holds(
    long_lived: Ledger, history: list[tuple[InstrumentState | None, int, int | None, int]]
) -> None:
    name = f"I-{next(numbers)}"
    told: list[tuple[int, date, date, InstrumentState | None]] = []
    at = NOON
    for state, first, length, pause in history:
        at += pause
        start = FIRST + timedelta(days=first)
        end = None if length is None or state is None else start + timedelta(days=length)
        with long_lived.booking(EVERYTHING, **entry(at)) as booking:
            if state is None:
                booking.withdraw(instrument(name, InstrumentState.SEALED), valid_from=start)
            else:
                booking.record(instrument(name, state), valid_from=start, valid_to=end)
        told.append((at, start, end or date.max, state))
    for as_of in (NOON - 1, *sorted({when for when, *_ in told}), None):
        every = [row for row in long_lived.instruments(EVERYTHING, as_of=as_of, on=None) if row.fact.id == name]
        for on in (FIRST + timedelta(days=n) for n in range(-1, 18)):
            states = [s for when, start, end, s in told if (as_of is None or when <= as_of) and start <= on < end]
            expected = [states[-1]] if states and states[-1] is not None else []
            found = [row for row in every if row.valid_from <= on and (row.valid_to is None or on < row.valid_to)]
            assert [row.fact.state for row in found] == expected, (as_of, on)
            if on.day % 5 == 0:  # the database picks the same rows by itself
                assert found == [r for r in long_lived.instruments(EVERYTHING, as_of=as_of, on=on) if r.fact.id == name]
