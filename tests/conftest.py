"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.sound_site"]
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of published data that no one here wrote; skips with a reason where it is absent."""
    folder = Path(os.environ.get("EMG_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"published data not found at {folder}; point EMG_TEST_DATA to it")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where every test can run (EMG_REFUSE_SKIPS=1), a skipped one is told as what it is: a hole."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    if skipped and os.environ.get("EMG_REFUSE_SKIPS") == "1":
        terminalreporter.write_line(f"{skipped} skipped although EMG_REFUSE_SKIPS=1: this run fails", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run when something was skipped that should have run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == 0 and os.environ.get("EMG_REFUSE_SKIPS") == "1" and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
