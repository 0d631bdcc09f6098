"""Lab files: any lab that holds together is taken, mistakes are told by line and key."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from simulators.lab import LABS, load_lab
from simulators.plant import Plant

SMALL = """
[lab]
name = "small"
site = "s"
seed = 1
timezone = "Europe/Berlin"

[enterprise]
id = "bakery-1"
name_zh = "面包房"
name_en = "bakery"

[[line]]
id = "one"
kind = "modbus-tcp"

[shape.flat]
working_day = [100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100]
weekend = [100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100]

[[point]]
id = "OVEN"
name_zh = "烤炉"
name_en = "oven"
carrier = "electricity"
level = "equipment"
role = "input"
counts = "active_energy_import"
line = "one"
address = 1
model = "acrel_adw300"
load = { mean = 36, shape = "flat" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_load_without_shape_or_noise_is_exactly_its_mean(tmp_path):
    plant = Plant(load_lab(written(tmp_path, SMALL)), epoch=0)
    # 36 kW for 10 s are 0.1 kWh = 10 counts; for an hour 3600 counts
    assert plant.register_at("OVEN", "active_energy_import", 10_000_000) == 10
    assert plant.register_at("OVEN", "active_energy_import", 3_600_000_000) == 3600
    assert plant.yard is None


@pytest.mark.parametrize(
    ("good", "bad", "key", "line"),
    [
        ('model = "acrel_adw300"', 'model = "acrel_adw301"', "point[0].model", 31),
        ('line = "one"', 'line = "two"', "point[0].line", 29),
        ("address = 1", "address = 0", "point[0].address", 30),
        ('shape = "flat"', 'shape = "round"', "point[0].load", 32),
        ('timezone = "Europe/Berlin"', 'timezone = "Berlin"', "lab.timezone", 6),
        ('counts = "active_energy_import"', 'counts = "volume"', "point[0].model", 31),
        ('id = "OVEN"', 'id = "../OVEN"', "point[0].id", 22),
        ("address = 1", "adress = 1", "point[0].adress", 30),
        ("seed = 1\n", "", "lab.seed", 2),
    ],
)
def test_a_mistake_is_told_by_line_and_key(tmp_path, good, bad, key, line):
    path = written(tmp_path, SMALL.replace(good, bad, 1))
    with pytest.raises(ConfigError) as caught:
        load_lab(path)
    assert any(problem.key == key and problem.line == line for problem in caught.value.problems), caught.value
    assert str(path) in str(caught.value)


def test_a_sum_that_leads_back_to_itself_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="sum_of"):
        load_lab(written(tmp_path, SMALL.replace("load = {", 'sum_of = ["OVEN"]\nload = {')))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="a readable TOML file"):
        load_lab(tmp_path / "none.toml")


def test_a_shipped_lab_loads_by_name():
    assert load_lab("cement") == load_lab(LABS / "cement.toml")
