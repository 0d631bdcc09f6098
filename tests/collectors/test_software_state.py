"""One byte changed in any file of a release is told at the next start."""

import json
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from collectors.acquire_identity import ROOMS
from collectors.software_state import ALTERED, AS_RELEASED, WORKING_TREE, software_state

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it is built from these sources, unpacked where an installer would put it."""
    folder = tmp_path_factory.mktemp("release")
    source = folder / "source"
    source.mkdir()
    for name in (*ROOMS, "dashboards"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=200)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "installed")
    return folder / "installed"


def installed_in(folder: Path) -> Distribution:
    [found] = distributions(path=[str(folder)])
    return found


def test_a_release_is_as_released_until_a_byte_of_any_file_changes(release: Path) -> None:
    assert software_state(installed_in(release), release, ROOMS) == (AS_RELEASED, ())
    files = sorted(path for room in ROOMS for path in (release / room).rglob("*") if path.is_file())
    assert len(files) > 200
    for path in files[::7]:
        good = path.read_bytes()
        path.write_bytes(bytes([good[0] ^ 1]) + good[1:] if good else b"#")
        found = software_state(installed_in(release), release, ROOMS)
        path.write_bytes(good)
        assert found == (ALTERED, (path.relative_to(release).as_posix(),))


def test_files_added_and_taken_away_are_told(release: Path) -> None:
    added, gone = release / "gateway" / "profiles" / "own.toml", release / "collectors" / "mqtt.py"
    good = gone.read_bytes()
    added.write_text("")
    gone.unlink()
    found = software_state(installed_in(release), release, ROOMS)
    added.unlink()
    gone.write_bytes(good)
    assert found == (ALTERED, ("collectors/mqtt.py", "gateway/profiles/own.toml"))
    assert json.loads(json.dumps(found.told()))["software_altered_files"] == 2


def test_of_a_working_tree_nobody_can_tell(tmp_path: Path) -> None:
    assert software_state(None, tmp_path, ROOMS).state == WORKING_TREE
    information = tmp_path / "own-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    (information / "RECORD").write_text("own-1.dist-info/METADATA,,\n")
    assert software_state(installed_in(tmp_path), tmp_path, ROOMS).state == WORKING_TREE
