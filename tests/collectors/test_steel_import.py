"""A year of quarter-hours that nobody here wrote: the right mapping is exact, every wrong one is refused.

Data: "Steel Industry Energy Consumption", UCI Machine Learning Repository, 2021, doi 10.24432/C52G8C, CC BY 4.0.
"""

import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

import collectors.mapping
from collectors.file_readings import FileReadings, read_file
from collectors.importing import monthly_totals
from collectors.mapping import load_mapping
from gateway.config import load_site
from gateway.domain.periods import midnight, to_datetime, to_instant
from gateway.errors import ConfigError, ImportRefused

pytestmark = pytest.mark.real_data

SHIPPED = Path(collectors.mapping.__file__).parent / "mappings" / "quarter_hours_end_labelled.toml"
NOW = 1_800_000_000_000_000
# As the publisher of the data's copy states them (its README), and each summed by hand from the file with awk.
MONTHS = "126238.29 91497.34 80230.41 78769.80 79059.28 65404.64 81674.41 68559.43 57883.07 84665.65 86217.61 59436.78"

Reader = Callable[..., FileReadings]


@pytest.fixture
def steel(real_data: Path, files_site: Callable[..., Path], tmp_path: Path) -> Reader:
    """Reads the year by the shipped mapping, some keys of its table [time] written otherwise ("" = left out)."""

    def read(*, site_zone: str = "Asia/Seoul", **changes: str) -> FileReadings:
        lines = []
        for line in SHIPPED.read_text("utf-8").splitlines():
            key = line.split("=")[0].strip()
            lines.append(f"{key} = {changes.pop(key)}" if changes.get(key) else line if key not in changes else "")
            if line == "[time]":
                lines += [f"{key} = {changes.pop(key)}" for key in ("zone_differs", "first") if key in changes]
        mapping = tmp_path / "steel.toml"
        mapping.write_text("\n".join(lines), "utf-8")
        site = load_site(files_site(zone=site_zone))
        return read_file(real_data / "steel_industry_2018.csv", load_mapping(mapping), site, now=NOW)

    return read


def refusal(steel: Reader, **changes: str) -> str:
    with pytest.raises(ImportRefused) as refused:
        steel(**changes)
    return str(refused.value)


def test_the_twelve_months_are_exact_in_plant_time_and_every_day_has_96_quarter_hours(steel: Reader) -> None:
    found = steel()
    assert (found.bad, found.findings) == ([], [])
    totals = monthly_totals(found.parts[0], "Asia/Seoul")
    assert totals == {f"2018-{month:02d}": Decimal(kwh) for month, kwh in enumerate(MONTHS.split(), 1)}
    assert sum(totals.values()) == Decimal("959636.71")
    days = Counter(to_datetime(reading.instant, "Asia/Seoul").date() for reading in found.readings)
    assert len(days) == 365
    assert set(days.values()) == {96}
    assert len({reading.instant for reading in found.readings}) == 35040


def test_an_interval_is_labelled_by_its_start_and_counts_steps_of_10_wh(steel: Reader) -> None:
    values = {reading.instant: reading.value for reading in steel().readings}
    start = to_instant(to_datetime(0).replace(year=2017, month=12, day=31, hour=15))  # 00:00 of 1 January in Seoul
    assert start == midnight(to_datetime(start, "Asia/Seoul").date(), "Asia/Seoul")
    # Line 2 of the file: "01/01/2018 0:15,3.17"; line 97: "01/01/2018 0:00,3.42" is the last of 1 January.
    assert values[start] == 317
    assert values[start + 95 * 900_000_000] == 342
    assert values[start + 96 * 900_000_000] == 320  # line 98: "02/01/2018 0:15,3.2"
    assert start - 900_000_000 not in values


def test_label_start_is_refused_with_the_declaration_that_mends_it(steel: Reader) -> None:
    with pytest.raises(ConfigError, match=r"time.day_end: found .* nothing: .* label end only"):
        steel(label='"start"')
    said = refusal(steel, label='"start"', day_end="")
    assert "365 rows run backwards in time, first line 97: '01/01/2018 0:00' after '01/01/2018 23:45'" in said
    assert 'declare time.label = "end" and time.day_end = "00:00-of-same-day"' in said


@pytest.mark.parametrize(
    ("day_end", "why"),
    [
        ('"00:00-of-next-day"', '365 rows run backwards .* declare time.day_end = "00:00-of-same-day"'),
        ('"24:00"', "line 97: the label '01/01/2018 0:00' means no end of a day if time.day_end = \"24:00\""),
    ],
)
def test_another_day_end_is_refused(steel: Reader, day_end: str, why: str) -> None:
    assert re.search(why, refusal(steel, day_end=day_end))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai"])
def test_another_zone_than_the_plants_is_refused_whichever_of_the_two_is_wrong(steel: Reader, zone: str) -> None:
    said = refusal(steel, zone=f'"{zone}"')
    assert f"the file's zone {zone} has" in said
    assert 'Declare time.zone = "Asia/Seoul"' in said
    assert "when the plant's" in refusal(steel, site_zone=zone)


def test_a_zone_with_daylight_saving_is_refused_even_when_its_difference_is_declared(steel: Reader) -> None:
    # In Berlin 2018-03-25 skips 02:00 to 03:00, and 2018-10-28 has that hour twice: the file has neither.
    said = refusal(steel, zone='"Europe/Berlin"', zone_differs='"the logger stood in Berlin"')
    assert "claim an instant that an earlier row has with another value" in said
    assert "4 intervals are missing in 1 gaps, first between line" in said
    assert "'28/10/2018 03:00'" in said


def test_a_declared_difference_of_zones_is_told_as_a_finding(steel: Reader) -> None:
    found = steel(zone='"Asia/Tokyo"')  # the same offset all year: no difference
    assert found.findings == []
    found = steel(zone='"Asia/Shanghai"', zone_differs='"the logger has Beijing time"')
    assert any("declared: the logger has Beijing time" in finding for finding in found.findings)


def test_day_and_month_exchanged_is_refused(steel: Reader) -> None:
    assert "cannot be read, so the mapping does not fit the file" in refusal(steel, formats='["%m/%d/%Y %H:%M"]')


def test_another_length_of_interval_is_refused(steel: Reader) -> None:
    with pytest.raises(ConfigError, match=r"time.interval_s: found 1800 s; expected 900 s, as profile"):
        steel(interval_s="1800")
