"""The front door: one word leads to the program, and every way out has its exit code."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from gateway.__main__ import COMMANDS, main


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_the_version_is_that_of_the_installed_distribution(word, capsys):
    assert main([word]) == 0
    assert capsys.readouterr() == (f"emg {version('energy-metrology-gateway')}\n", "")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_the_exit_codes(words, capsys):
    assert main(words) == 0
    assert "Exit codes: 0 good, 1 findings, 2 could not run." in capsys.readouterr().out


@pytest.mark.parametrize(("words", "meant"), [
    (["figurs"], "emg figures"), (["pedigre", "x"], "emg pedigree"), (["import", "certificate"], "emg import certificates"), (["stauts"], "emg status"),
])  # fmt: skip
def test_an_unknown_command_is_told_which_was_meant(words, meant, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"did you mean `{meant}`?" in err
    assert err.count("\n") == 1


def test_a_word_that_resembles_nothing_leads_to_the_list(capsys):
    assert main(["xyzzy"]) == 2
    assert capsys.readouterr().err == "emg: there is no command 'xyzzy'. `emg --help` lists them.\n"


@pytest.mark.parametrize("command", [["check"], ["settle"], ["status"], ["acquire"], ["serve"], ["read"], ["run"]])
def test_a_site_file_that_is_absent_is_a_sentence_and_exit_2(command, tmp_path, capsys):
    assert main([*command, str(tmp_path / "none.toml")]) == 2
    out, err = capsys.readouterr()
    assert "none.toml" in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_option_that_does_not_exist_is_exit_2(command, capsys):
    assert main([*command, "--no-such-option"]) == 2
    out, err = capsys.readouterr()
    assert "no-such-option" in err
    assert out == ""


def test_the_front_door_opens_without_the_large_libraries():
    """`emg --version` and `emg check` must not wait for pandas, nor need it."""
    heavy = {"pandas", "numpy", "sqlalchemy", "fastapi", "amqtt", "pymodbus"}
    code = f"import sys; from gateway.__main__ import main; main(['--version']); sys.exit(bool({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
