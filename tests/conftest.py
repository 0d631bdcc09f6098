"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of published data that no one here wrote; skips with a reason where it is absent."""
    folder = Path(os.environ.get("EMG_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"published data not found at {folder}; point EMG_TEST_DATA to it")
    return folder
