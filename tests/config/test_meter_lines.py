"""What in a site file about DL/T 645 and CJ/T 188 lines is refused: each with file, line, key and how to mend it."""

from pathlib import Path

import pytest

from gateway.check import check_main
from gateway.config import load_site
from gateway.domain.sites import LineKind
from gateway.errors import ConfigError
from tests.collectors.meter_lab import E_METER, SITE, W_METER, line_table, meter_tables, write_site

SERIAL = '[[line]]\nid = "rs485"\nkind = "dlt645-serial"\nserial_port = "/dev/ttyS9"\n'
TCP = '[[line]]\nid = "water"\nkind = "cjt188-tcp"\nhost = "192.0.2.7"\nport = 8899\n'
TEXT = SITE + "\n" + SERIAL + "\n" + TCP
TEXT += meter_tables(1, "rs485", "electricity/dlt645_2007", E_METER) + meter_tables(
    2, "water", "water/cjt188_water", W_METER
)


def test_the_defaults_are_those_of_the_standards(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(TEXT, "utf-8")
    site = load_site(tmp_path / "site.toml")
    line = site.lines["rs485"]
    assert (line.kind, line.serial_port) == (LineKind.DLT645_SERIAL, "/dev/ttyS9")
    assert (line.baud, line.parity, line.period_s, line.timeout_s) == (2400, "even", 60, 2)
    assert (site.meters["m1"].asked_at, site.meters["m2"].asked_at) == ("000000000161", "78330011223344")
    assert {kind for kind in LineKind if kind.is_polled} == set(LineKind) - {LineKind.MQTT, LineKind.FILES}


# What is changed, how the line of the file begins that is named, and what is said.
MISTAKES = {
    "address without its leading zeros": (f'"{E_METER}"', '"161"', "address", "expected 12 digits, with all leading zeros"),
    "address as a number": (f'"{E_METER}"', "161", "address", "text in quotes"),
    "address with a letter": (f'"{E_METER}"', '"00000000016A"', "address", "12 digits"),
    "broadcast address": (f'"{E_METER}"', '"999999999999"', "address", "no broadcast address"),
    "address of DL/T 645 on a CJ/T 188 line": (f'"{W_METER}"', f'"{E_METER}"', "address", "14 digits"),
    "wildcard address": (f'"{W_METER}"', '"AAAAAAAAAAAAAA"', "address", "no AA"),
    "no address": (f'address = "{E_METER}"\n', "", "[[meter]]", "address: found nothing; expected 12 digits"),
    "device address": (f'address = "{W_METER}"', f'address = "{W_METER}"\ndevice_address = 3', "device_address", "Its address is 'address'"),
    "profile of Modbus": ("electricity/dlt645_2007", "electricity/acrel_adw300", "line", "whose values come by modbus"),
    "profile of the other protocol": ("water/cjt188_water", "electricity/dlt645_2007", "line", "whose values come by dlt645"),
    "unknown baud rate": ('"/dev/ttyS9"', '"/dev/ttyS9"\nbaud = 2401', "baud", "found 2401; expected 300"),
    "unknown parity": ('"/dev/ttyS9"', '"/dev/ttyS9"\nparity = "evn"', "parity", "Did you mean 'even'?"),
    "no port of the serial server": ("port = 8899\n", "", "[[line]]", "port: found nothing; expected TCP port"),
    "no serial port": ('serial_port = "/dev/ttyS9"\n', "", "[[line]]", "serial_port: found nothing; expected device file"),
    "a host on a serial line": ('"/dev/ttyS9"', '"/dev/ttyS9"\nhost = "x"', "host", "the unknown key 'host'"),
    "longer time-out than period": ('"/dev/ttyS9"', '"/dev/ttyS9"\nperiod_s = 1', "[[line]]", "at most the period of 1 s"),
    "phase behind the period": ('"/dev/ttyS9"', '"/dev/ttyS9"\nphase_s = 60', "phase_s", "less than the period"),
    "misspelt kind": ("dlt645-serial", "dlt645-seriel", "kind", "Did you mean 'dlt645-serial'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_line_and_key(tmp_path: Path, name: str) -> None:
    old, new, there, says = MISTAKES[name]
    text = TEXT.replace(old, new, 1)
    file = tmp_path / "site.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_site(file)
    (mine,) = [problem for problem in refused.value.problems if says in problem.sentence()]
    assert text.splitlines()[mine.line - 1].startswith(there), mine.sentence()
    assert mine.sentence().startswith(f"{file}:{mine.line}: ")


def test_two_lines_on_one_port_are_refused_by_whatever_name_they_call_it(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to("/dev/ttyS9")
    for first, second, key in (
        (
            line_table("a", "dlt645-serial", "/dev/ttyS9"),
            line_table("b", "cjt188-serial", tmp_path / "by-id"),
            "serial_port",
        ),
        (line_table("a", "dlt645-tcp", 8899), line_table("b", "cjt188-tcp", 8899), "port"),
    ):
        with pytest.raises(ConfigError) as refused:
            load_site(write_site(tmp_path, first, second))
        (problem,) = refused.value.problems
        assert problem.key == f"line[2].{key}"
        assert "where line 'a' reads; expected a port of its own" in problem.sentence()


def test_two_meters_with_one_address_are_refused_on_one_line_and_allowed_on_two(tmp_path: Path) -> None:
    lines = line_table("a", "dlt645-serial", "/dev/ttyS8"), line_table("b", "dlt645-serial", "/dev/ttyS9")
    meter = meter_tables(1, "a", "electricity/dlt645_2007", E_METER)
    load_site(write_site(tmp_path, *lines, meter, meter_tables(2, "b", "electricity/dlt645_2007", E_METER)))
    with pytest.raises(ConfigError, match="which meter 'm1' has on the same line"):
        load_site(write_site(tmp_path, *lines, meter, meter_tables(2, "a", "electricity/dlt645_2007", E_METER)))


def test_an_address_of_digits_is_refused_on_a_modbus_line(tmp_path: Path) -> None:
    modbus = '\n[[line]]\nid = "hall"\nkind = "modbus-tcp"\nhost = "192.0.2.1"\n'
    with pytest.raises(ConfigError, match="no such key on a line of kind modbus-tcp"):
        load_site(write_site(tmp_path, modbus, meter_tables(1, "hall", "electricity/acrel_adw300", E_METER)))


def test_emg_check_shows_port_and_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.toml").write_text(TEXT, "utf-8")
    assert check_main([str(tmp_path / "site.toml")]) == 0
    out = capsys.readouterr().out
    for text in ("/dev/ttyS9", "2400", "000000000161", "78330011223344", "192.0.2.7:8899"):
        assert text in out
