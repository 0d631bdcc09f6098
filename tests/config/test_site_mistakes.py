"""Mistakes in a site file: each is told once, on its line, with what was expected and how to mend it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import load_site
from gateway.errors import ConfigError, Problem
from tests.sound_site import SOUND

MANY_MISTAKES = """\
[site]
name = "Works"
timezone = "Asia/Shanghia"
data_dir = "data"
gateway_id = "gw 1"

[[enterprise]]
id = "works"
name_zh = "工厂"

[[line]]
id = "hall"
kind = "modbus-tpc"
host = "192.0.2.1"

[[line]]
id = "hall-2"
kind = "modbus-tcp"
host = "192.0.2.1"
port = 70000

[[line]]
id = "hall-3"
kind = "modbus-tcp"
host = "192.0.2.3"
period_s = 10
phase_s = 10

[[meter]]
id = "E-1"
line = "hal-3"
profile = "electricity/acrel_adw300"

[[meter]]
id = "E-2"
line = "hall-3"
profile = "electricity/acrel_adw30"
device_addres = 3

[[meter]]
id = "E-3"
line = "hall-3"
profile = "electricity/acrel_adw300"
ct_ratio = 300

[[meter]]
id = "E-3"
line = "hall-3"
profile = "electricity/eastron_sdm630"

[[point]]
id = "main"
enterprise = "works"
name_zh = "总进线"
name_en = "main"
carrier = "electricity"
level = "enterprise"
role = "inputs"
counts = "active_energy_import"
meter = "E-1"

[[point]]
id = "mill"
enterprise = "works"
name_zh = "磨机"
name_en = "mill"
carrier = "electricity"
level = "equipment"
role = "internal"
counts = "active_energy"
meter = "E-3"
parent = "mian"

[[account]]
enterprise = "works"
carrier = "electricity"
conversion = "electricity_equivalent"
method = "metered"
plus = ["mill", "mill"]

[api]
host = "0.0.0.0"

[sore]
kind = "embedded"
"""

# line, key, and what the sentence contains
EXPECTED = [
    (3, "site.timezone", "Did you mean 'Asia/Shanghai'?"),
    (5, "site.gateway_id", "1 to 64 letters, digits"),
    (7, "enterprise[1].name_en", "found nothing; expected English name. Add the key 'name_en'."),
    (13, "line[1].kind", "cjt188-serial, mqtt, files. Did you mean 'modbus-tcp'?"),
    (20, "line[2].port", "found 70000; expected less than or equal to 65535"),
    (27, "line[3].phase_s", "found 10; expected less than the period of 10 s"),
    (31, "meter[1].line", "found \"hal-3\"; expected the id of a [[line]]. Did you mean 'hall-3'?"),
    (38, "meter[2].device_addres", "Did you mean 'device_address'?"),
    (44, "meter[3].ct_ratio", "shows primary values. The ratio would be applied twice; remove the key."),
    (47, "meter[4].id", '"E-3", which is already used in line 41'),
    (46, "meter[4].device_address", "1, which meter 'E-3' has on the same line"),
    (58, "point[1].role", "expected 'input', 'output', 'internal' or 'stock'"),
    (70, "point[2].counts", "Did you mean 'active_energy_import'?"),
    (72, "point[2].parent", "Did you mean 'main'?"),
    (79, "account[1].plus", "\"mill\", also under 'plus'; expected each point once"),
    (82, "api.host", "There are no users yet"),
    (84, "sore", "Did you mean 'store'?"),
]


def problems_of(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as refused:
        load_site(path)
    return refused.value.problems


def test_many_different_mistakes_give_as_many_clear_sentences(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(MANY_MISTAKES, encoding="utf-8")
    told = problems_of(path)
    lines = MANY_MISTAKES.splitlines()
    for line, key, says in EXPECTED:
        mine = [problem for problem in told if problem.key == key]
        assert len(mine) == 1, (key, [problem.sentence() for problem in told])
        assert mine[0].line == line, mine[0].sentence()
        assert says in mine[0].sentence(), mine[0].sentence()
        assert str(path) in mine[0].sentence()
        last = key.rsplit(".", 1)[-1]
        assert last in lines[line - 1] or lines[line - 1].startswith("[["), lines[line - 1]
    assert len(told) == len(EXPECTED), "\n".join(problem.sentence() for problem in told)


# One mistake each in the otherwise sound file: what is replaced, by what; key; what the sentence contains.
SINGLE = {
    "identifier with a slash": ('id = "gas"', 'id = "g/s"', "point[3].id", "1 to 64 letters"),
    "number for text": ('name = "Works"', "name = 7", "site.name", "found 7; expected text in quotes"),
    "text for a number": ("period_s = 10", 'period_s = "10"', "line[1].period_s", 'found "10"; expected a number'),
    "true for a number": ("period_s = 10", "period_s = true", "line[1].period_s", "found true; expected a number"),
    "not a number": ("period_s = 10", "period_s = nan", "line[1].period_s", "expected a finite number"),
    "broken address": ("device_address = 1", "device_address = 1.5", "meter[1].device_address", "a whole number"),
    "address out of range": ("device_address = 1", "device_address = 256", "meter[1].device_address", "255"),
    "same address twice": (
        "device_address = 2",
        "device_address = 1",
        "meter[2].device_address",
        "1, which meter 'E-1' has on the same line",
    ),
    "timeout beyond the period": (
        "period_s = 10",
        "period_s = 10\ntimeout_s = 11",
        "line[1].timeout_s",
        "at most the period of 10 s",
    ),
    "several questions where answers cannot be told apart": (
        "period_s = 10",
        'period_s = 10\npipeline = 4\ntransaction_ids = "ignored"',
        "line[1].pipeline",
        "found 4; expected 1, for answers without transaction ids of ours cannot be told apart",
    ),
    "password in the file": ('kind = "mqtt"', 'kind = "mqtt"\npassword = "x"', "line[2].password", "the unknown key"),
    "key of another kind of line": (
        'kind = "mqtt"',
        'kind = "mqtt"\nmax_words = 9',
        "line[2].max_words",
        "unknown key",
    ),
    "message profile on a Modbus line": (
        'line = "broker"',
        'line = "hall"\ndevice_address = 9',
        "meter[3].line",
        "a line of kind modbus-tcp; expected a line that can carry 'gas/emg_message_gas'",
    ),
    "Modbus profile on a broker": ('line = "hall"', 'line = "broker"', "meter[1].line", "a line of kind mqtt"),
    "ratio where there is no transformer": (
        "device_address = 2",
        "device_address = 2\npt_ratio = 100",
        "meter[2].pt_ratio",
        "shows values without transformers",
    ),
    "unknown enterprise": ('enterprise = "works"', 'enterprise = "work"', "point[1].enterprise", "'works'?"),
    "meter at two points": ('meter = "E-2"', 'meter = "E-1"', "point[2].meter", "which is read at point 'main'"),
    "unknown meter": ('meter = "E-2"', 'meter = "E-9"', "point[2].meter", "the id of a [[meter]]"),
    "quantity the meter has not": ('counts = "volume"', 'counts = "mass"', "point[3].counts", "a quantity that"),
    "momentary value counted": (
        'counts = "active_energy_import"\nmeter = "E-2"',
        'counts = "active_power"\nmeter = "E-2"',
        "point[2].counts",
        "which is instantaneous; expected a cumulative or interval register",
    ),
    "stock that counts a flow": (
        'role = "input"\ncounts = "volume"',
        'role = "stock"\ncounts = "volume"',
        "point[3].counts",
        "expected stock or stock_volume, for a point of role stock",
    ),
    "parent of another carrier": (
        'meter = "G-1"\n\n[[account]]',
        'meter = "G-1"\nparent = "main"\n\n[[account]]',
        "point[3].parent",
        "a point of electricity; expected a point of gas",
    ),
    "parent of a lower level": (
        'level = "enterprise"',
        'level = "equipment"\nparent = "mill"',
        "point[1].parent",
        "main > mill > main",
    ),
    "own parent": ('parent = "main"', 'parent = "mill"', "point[2].parent", "mill > mill"),
    "account of another carrier": ('plus = ["main"]', 'plus = ["gas"]', "account[1].plus", "a point of gas"),
    "flow counted twice": (
        'plus = ["main"]',
        'plus = ["main", "mill"]',
        "account[1].plus",
        '"mill" and "main", which lies above it',
    ),
    "plus and minus": ('plus = ["main"]', 'plus = ["main"]\nminus = ["main"]', "account[1].minus", "also under 'plus'"),
    "stock method without stock": (
        'method = "metered"',
        'method = "stock"',
        "account[1].stock",
        "points of role stock",
    ),
    "flow among the stocks": (
        'method = "metered"',
        'method = "stock"\nstock = ["mill"]',
        "account[1].stock",
        '"mill" of role internal; expected points of role stock',
    ),
    "unknown point in an account": ('plus = ["main"]', 'plus = ["maim"]', "account[1].plus", "Did you mean 'main'?"),
    "nothing counted": ('plus = ["main"]', "plus = []", "account[1].plus", "at least 1 item"),
    "density without source": (
        'method = "metered"',
        'method = "metered"\ndensity = 840',
        "account[1].density_source",
        "A figure names its sources.",
    ),
    "port in words": ("port = 8460", 'port = "8460"', "api.port", "a whole number"),
    "open to the network": (
        'host = "127.0.0.1"',
        'host = "192.168.1.5"',
        "api.host",
        "expected 127.0.0.1, ::1 or localhost",
    ),
    "quarter-hours that do not fill an hour": (
        "[api]",
        "[settle]\ninterval_s = 700\n[api]",
        "settle.interval_s",
        "hour",
    ),
    "another store": ("[api]", '[store]\nkind = "influx"\n[api]', "store.kind", "Did you mean 'influxdb'?"),
    "a store's database that is no plain name": (
        "[api]",
        '[store]\nkind = "influxdb"\nurl = "http://127.0.0.1:8086"\nversion = "1"\ndatabase = "a; DROP"\n[api]',
        "store.database",
        'found "a; DROP"',
    ),
    "a secret in an address": (
        "[api]",
        '[store]\nkind = "influxdb"\nurl = "http://me:x@h:1"\nversion = "1"\ndatabase = "a"\n[api]',
        "store.url",
        "Secrets come from the environment",
    ),
    "a sink without a kind": ("[api]", '[[sink]]\nid = "copy"\n[api]', "sink[1].kind", "one of influxdb"),
    "a sink of an unknown enterprise": (
        "[api]",
        '[[sink]]\nid = "copy"\nkind = "files"\nfolder = "out"\nenterprises = ["work"]\n[api]',
        "sink[1].enterprises[1]",
        "Did you mean 'works'?",
    ),
    "evidence kept too short": (
        "[api]",
        "[journal]\nkeep_evidence_months = 12\n[api]",
        "journal.keep_evidence_months",
        "0 or at least 24",
    ),
    "a witness without encryption": (
        "[api]",
        '[witness]\nkind = "https"\nurl = "http://192.0.2.1/w"\n[api]',
        "witness.url",
        "an https address",
    ),
    "single brackets": ("[[account]]", "[account]", "account", "Write [[account]] in double brackets."),
}


@pytest.mark.parametrize(("old", "new", "key", "says"), SINGLE.values(), ids=SINGLE.keys())
def test_one_mistake_is_told_once(site_file: Callable[..., Path], old: str, new: str, key: str, says: str) -> None:
    told = problems_of(site_file(old, new))
    assert [problem.key for problem in told] == [key], "\n".join(problem.sentence() for problem in told)
    assert says in told[0].sentence(), told[0].sentence()
    assert told[0].line is not None


def test_points_of_another_enterprise_are_neither_parent_nor_counted(site_file: Callable[..., Path]) -> None:
    other = '[[enterprise]]\nid = "other"\nname_zh = "别厂"\nname_en = "other"\n\n[[line]]'
    path = site_file("[[line]]", other, 'id = "mill"\nenterprise = "works"', 'id = "mill"\nenterprise = "other"')
    told = problems_of(path)
    assert [problem.key for problem in told] == ["point[2].parent"]
    path = site_file("[[line]]", other, '[[account]]\nenterprise = "works"', '[[account]]\nenterprise = "other"')
    told = problems_of(path)
    assert [(problem.key, problem.found) for problem in told] == [("account[1].plus", "\"main\" of 'works'")]


def test_a_point_in_two_accounts_is_told(site_file: Callable[..., Path]) -> None:
    account = '[[account]]\nenterprise = "works"\ncarrier = "electricity"\nconversion = "x"\nmethod = "metered"\n'
    told = problems_of(site_file("[api]", f'{account}plus = ["main"]\n\n[api]'))
    assert [problem.key for problem in told] == ["account[2].plus"]
    assert "counted by the account in line 74" in told[0].sentence()


def test_a_parent_of_a_lower_level_is_told(site_file: Callable[..., Path]) -> None:
    path = site_file('level = "enterprise"', 'level = "subunit"', 'level = "equipment"', 'level = "enterprise"')
    told = problems_of(path)
    assert [problem.key for problem in told] == ["point[2].parent"]
    assert "a point of level subunit; expected a level not below enterprise" in told[0].sentence()


def test_a_point_without_a_meter_cannot_be_accounted(site_file: Callable[..., Path]) -> None:
    told = problems_of(site_file('meter = "E-1"\n', ""))
    assert [problem.key for problem in told] == ["account[1].plus"]
    assert "which has no meter" in told[0].sentence()


def test_a_profile_that_does_not_hold_is_told_with_its_own_line(site_file: Callable[..., Path]) -> None:
    path = site_file("electricity/acrel_adw300", "electricity/mine")
    profile = path.parent / "profiles" / "electricity" / "mine.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text('maker = "x"\n', encoding="utf-8")
    told = problems_of(path)
    assert told[0].key == "meter[1].profile"
    assert all(problem.file == str(profile) for problem in told[1:])
    assert {problem.key for problem in told[1:]} == {"model", "carrier", "source", "registers"}


def test_a_missing_mapping_file_is_told(site_file: Callable[..., Path]) -> None:
    path = site_file('kind = "mqtt"\nhost = "192.0.2.2"', 'kind = "files"\nfolder = "drop"\nmapping = "map.toml"')
    assert [problem.key for problem in problems_of(path)] == ["line[2].mapping"]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a = 1\nb = = 2\n", 2, "Invalid value, column 5"),
        ('a = 1\nb = "open\n', 2, "Illegal character"),
        ("[site]\nname = 1\nname = 2\n", 3, "Cannot overwrite a value"),
        ("a = [1,\n2\n", 3, "Unclosed array"),
    ],
)
def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path: Path, text: str, line: int, found: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    (problem,) = problems_of(path)
    assert problem.line == line
    assert found in problem.found


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "nothing.toml")
    assert problem.found == "No such file or directory"
    path = tmp_path / "gbk.toml"
    path.write_bytes('name = "工厂"'.encode("gb18030"))
    (problem,) = problems_of(path)
    assert "not UTF-8 at byte 8" in problem.found


def test_an_empty_file_names_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("", encoding="utf-8")
    assert {problem.key for problem in problems_of(path)} == {
        "site.name", "site.timezone", "site.data_dir", "site.gateway_id", "enterprise",
    }  # fmt: skip


VALUES = st.sampled_from(
    [
        '""',
        '"main"',
        '"../x"',
        "0",
        "-1",
        "1e400",
        "nan",
        "[]",
        "[1]",
        "{}",
        "{ id = 1 }",
        "true",
        "1979-05-27",
        '"工"',
        "=",
    ]
)


@given(st.lists(st.tuples(st.integers(0, 10_000), VALUES), min_size=1, max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_whatever_stands_in_the_file_the_answer_is_a_site_or_sentences(
    tmp_path: Path, changes: list[tuple[int, str]]
) -> None:
    lines = SOUND.splitlines()
    for number, value in changes:
        at = number % len(lines)
        key = lines[at].split("=")[0]
        lines[at] = f"{key}= {value}" if "=" in lines[at] else value
    path = tmp_path / "site.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        load_site(path)
    except ConfigError as refused:
        assert refused.problems
        assert all(problem.sentence() for problem in refused.problems)
