"""A mapping declares everything; what is missing, unknown or contradictory is told with its line."""

from collections.abc import Callable
from pathlib import Path

import pytest

import collectors.mapping
import gateway.config
from collectors.amounts import targets
from collectors.mapping import Mapping, load_mapping
from gateway.config import load_site
from gateway.errors import ConfigError

SHIPPED = sorted((Path(collectors.mapping.__file__).parent / "mappings").glob("*.toml"))
SAMPLES = [
    Path(gateway.config.__file__).parent / "samples" / name
    for name in ("coal_tickets.toml", "coal_stock.toml", "coal_laboratory.toml", "dials.toml")
]
END_LABELLED = Path(collectors.mapping.__file__).parent / "mappings" / "quarter_hours_end_labelled.toml"


@pytest.mark.parametrize("path", [*SHIPPED, *SAMPLES], ids=lambda path: path.stem)
def test_every_mapping_we_ship_is_sound(path: Path) -> None:
    assert load_mapping(path).wanted


def mistakes(tmp_path: Path, old: str, new: str) -> list[str]:
    """The sentences about the end-labelled mapping with one text in it exchanged."""
    text = END_LABELLED.read_text("utf-8")
    assert text.count(old) == 1
    file = tmp_path / "map.toml"
    file.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(ConfigError) as told:
        load_mapping(file)
    return [problem.sentence().removeprefix(f"{file}") for problem in told.value.problems]


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(END_LABELLED.read_text("utf-8").splitlines(), 1) if line.startswith(text))


MUST_STAND = [
    "delimiter",
    "encoding",
    "header",
    "point",
    "quantity",
    "formats",
    "zone",
    "label",
    "interval_s",
    "day_end",
    "unit",
    "decimal_mark",
    "kind",
]


@pytest.mark.parametrize("key", MUST_STAND)
def test_what_is_not_declared_is_not_guessed(tmp_path: Path, key: str) -> None:
    [sentence] = mistakes(tmp_path, f"\n{key} ", f"\n# {key} ")
    assert f".{key}: found nothing; expected " in sentence
    assert f"Add the key '{key}'" in sentence


MISTAKES = [
    ('encoding = "utf-8"', 'encoding = "utf-88"', 'format.encoding: found "utf-88"; expected the name of an'),
    ('"active_energy_import"', '"active_energy"', "Did you mean 'active_energy_"),
    ('unit = "kWh"', 'unit = "kwh"', "Did you mean 'kWh'?"),
    ('unit = "kWh"', 'unit = "m3"', "found m3, a unit of volume; expected a unit of energy"),
    ('"Asia/Seoul"', '"Asia/Soul"', "expected an IANA zone"),
    ('"Asia/Seoul"', '"in-text"', "expected %z in every format"),
    ('"%d/%m/%Y %H:%M"', '"%d/%m/%Y %H:%M%z"', 'expected "in-text", since a format has %z'),
    ('"%d/%m/%Y %H:%M"', '"%d/%m %H:%M"', "expected a strptime format with year, month, day, hour"),
    ('label = "end"', 'label = "start"', "expected nothing: how a day's last end is labelled, with label end only"),
    ('label = "end"', 'label = "middle"', "'start', 'end' or 'instant'"),
    ('day_end = "00:00-of-same-day"', 'day_end = "00:00"', "'00:00-of-next-day' or '24:00'"),
    ('kind = "interval"', 'kind = "cumulative"', "since the label names the start or end of one"),
    ("interval_s = 900", 'interval_s = 900\nfirst = "noon"', "expected midnight, anywhere, or a local time"),
    ("interval_s = 900", 'interval_s = 900\nfirst = "anywhere"', "time.label_known_from: found nothing"),
    ('column = "date"', "column = 1", "expected the column's name, as the header has it"),
    ('column = "date"', 'column = "Usage_kWh"', "expected another column"),
    ("header = true", "haeder = true", "Did you mean 'header'?"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), MISTAKES)
def test_a_mistake_is_told_with_its_line_and_what_was_expected(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    told = mistakes(tmp_path, old, new)
    assert any(sentence in each for each in told), told
    assert all(each.startswith(":") and each[1].isdigit() for each in told)


def test_all_mistakes_of_a_mapping_are_told_at_once(tmp_path: Path) -> None:
    text = (
        END_LABELLED.read_text("utf-8")
        .replace('"kWh"', '"kwh"')
        .replace("Asia/Seoul", "Asia/Soul")
        .replace("utf-8", "utf-88")
    )
    file = tmp_path / "map.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as told:
        load_mapping(file)
    assert [(problem.key, problem.line) for problem in told.value.problems] == [
        ("format.encoding", line_of("encoding")),
        ("value.unit", line_of("unit")),
        ("time.zone", line_of("zone")),
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            'point = "main"',
            'point = "mian"',
            "into.point: found 'mian'; expected a point of the site: coal-in, coal-stock, main",
        ),
        ('"active_energy_import"', '"active_energy_export"', "expected a quantity of point main: active_energy_import"),
        (
            'label = "end"',
            'label = "instant"',
            "expected 900 s, as profile electricity/interval_energy_csv declares it",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_its_site_is_told(
    tmp_path: Path, files_site: Callable[..., Path], old: str, new: str, sentence: str
) -> None:
    text = END_LABELLED.read_text("utf-8").replace(old, new)
    if "instant" in new:
        text = "\n".join(line for line in text.splitlines() if not line.startswith(("interval_s", "day_end")))
    file = tmp_path / "map.toml"
    file.write_text(text, "utf-8")
    mapping: Mapping = load_mapping(file)
    with pytest.raises(ConfigError) as told:
        targets(mapping, load_site(files_site()))
    assert sentence in str(told.value)
