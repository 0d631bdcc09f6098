"""Mistakes in the MQTT lines of a site file: each told once, on its line, with its key and how to mend it."""

from pathlib import Path

import pytest

from gateway.config import load_site
from gateway.errors import ConfigError
from tests.collectors.mqtt_lab import site_text

# keys of the line, keys of the meter, key that is told, line of the file, what the sentence contains
MISTAKES = [
    ('payload = "tasmoto"', "", "line[1].payload", 18, "Did you mean 'tasmota'?"),
    ('payload = "tasmota"', "", "line[1].zone", None, "Add the key 'zone', e.g. Asia/Shanghai."),
    ('payload = "tasmota"\nzone = "Europe/Berlim"', "", "line[1].zone", 19, "an IANA time zone"),
    ('payload = "homie5"\nzone = "Europe/Berlin"', "", "line[1].zone", 19, "Remove the key."),
    ('zone = "Europe/Berlin"', "", "line[1].zone", 18, 'payload "emg" has no times without an offset'),
    ('payload = "sparkplug-b"\nshare = "g"', "", "line[1].share", 19, "must come to one reader"),
    ('share = "a/b"', "", "line[1].share", 18, "letters, digits"),
    ("rebirth = true", "", "line[1].rebirth", 18, 'with payload = "sparkplug-b" only'),
    ('sparkplug_host = "h"', "", "line[1].sparkplug_host", 18, 'with payload = "sparkplug-b" only'),
    ('payload = "sparkplug-b"\nsparkplug_host = "a/#"', "", "line[1].sparkplug_host", 19, "a name without /, + and #"),
    ('topic = "emg/v1/#/reading"', "", "line[1].topic", 18, "# at the end"),
    ('topic = "$share/g/emg/#"', "", "line[1].topic", 18, "a topic filter"),
    ('version = "4"', "", "line[1].version", 18, "'5' or '3.1.1'"),
    ("", 'source = "x"', "meter[1].source", 24, "Remove the key."),
    ('payload = "homie5"', 'source = "same"', "meter[2].source", 41, "as meter 'M-A' is called"),
]


@pytest.mark.parametrize(("line", "meter", "key", "number", "what"), MISTAKES)
def test_a_mistake_is_told_once(tmp_path: Path, line: str, meter: str, key: str, number: int | None, what: str) -> None:
    file = tmp_path / "site.toml"
    points = {"A": meter, "B": meter} if "same" in meter else {"A": meter}
    file.write_text(site_text(1883, line, points), "utf-8")
    with pytest.raises(ConfigError) as raised:
        load_site(file)
    [problem] = raised.value.problems
    assert problem.key == key
    assert what in problem.sentence()
    if number is not None:
        assert problem.line == number, file.read_text()


def test_a_meter_of_which_the_payload_brings_nothing_is_told(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(site_text(1883, 'payload = "shelly_3em"', {"A": ""}, "water/emg_message_water"), "utf-8")
    with pytest.raises(ConfigError, match="expected a profile with one of what shelly_3em"):
        load_site(file)


def test_a_mistake_in_a_mapping_of_the_users_own_is_told_with_the_site(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    (tmp_path / "own.toml").write_text('source = "x"\ntopic = "a/{meter}"\n[time]\nform = "isso"\n', "utf-8")
    file.write_text(site_text(1883, 'payload = "own.toml"', {"A": ""}), "utf-8")
    with pytest.raises(ConfigError) as raised:
        load_site(file)
    said = str(raised.value)
    assert 'line[1].payload: found "own.toml", which does not hold' in said
    assert "own.toml:4: time.form" in said


def test_what_is_left_out_follows_from_the_payload(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(site_text(0, "", {"A": ""}).replace("port = 0\n", 'tls_ca = ""\n'), "utf-8")
    line = load_site(file).lines["broker"]
    assert (line.port, line.client_id, line.payload, line.topic) == (1883, "gw-broker", "emg", "")
