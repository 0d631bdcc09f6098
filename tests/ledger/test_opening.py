"""Opening the ledger's file: migrations, read-only, two at once, and files that are not ours to read."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Enterprise, Site
from gateway.errors import LedgerError
from gateway.ledger import schema
from gateway.ledger.ledger import Ledger
from gateway.ledger.opening import open_ledger, rehearsal
from gateway.ledger.topology import record_topology

ROOT = Path(__file__).resolve().parents[2]
NOON = 1_793_246_400_000_000


def ask(site: Site, question: str) -> object:
    with closing(sqlite3.connect(site.data_dir / "ledger.db")) as connection:
        return connection.execute(question).fetchone()[0]


def test_migrating_from_nothing_gives_the_tables_that_the_code_reads(site: Site) -> None:
    open_ledger(site, read_only=False).close()
    engine = create_engine(f"sqlite:///{site.data_dir / 'ledger.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()
    assert ask(site, "PRAGMA journal_mode") == "wal"
    assert ask(site, "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'") == 3 * len(schema.metadata.tables)


def test_the_list_of_revisions_is_that_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", "gateway.ledger:migrations")
    walked = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(walked)) == schema.REVISIONS


def test_the_writing_connection_waits_for_the_disk_and_minds_references(ledger: Ledger) -> None:
    with ledger.booking(EVERYTHING, recorded_at=NOON, recorded_by="a", reason="b") as booking:
        connection = booking._connection
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_missing_ledger_is_not_made_by_reading(site: Site) -> None:
    with pytest.raises(LedgerError, match=r"no ledger yet; `emg run .*site\.toml`"):
        open_ledger(site, read_only=True)
    assert not site.data_dir.exists()


def test_an_older_ledger_is_brought_up_to_date_by_writing_only(site: Site) -> None:
    site.data_dir.mkdir()
    sqlite3.connect(site.data_dir / "ledger.db").close()  # a file without a schema
    with pytest.raises(LedgerError, match="schema none, not 0001; `emg run"):
        open_ledger(site, read_only=True)
    open_ledger(site, read_only=False).close()
    with closing(open_ledger(site, read_only=True)) as ledger:
        assert ledger.enterprises(EVERYTHING, as_of=None, on=None) == []


@pytest.mark.parametrize("read_only", [True, False])
def test_a_ledger_of_newer_software_is_left_alone(ledger: Ledger, site: Site, read_only: bool) -> None:
    with closing(sqlite3.connect(site.data_dir / "ledger.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(LedgerError, match="newer software"):
        open_ledger(site, read_only=read_only)
    with pytest.raises(LedgerError, match="newer software"), rehearsal(site):
        pass


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_named(site: Site, read_only: bool) -> None:
    site.data_dir.mkdir()
    (site.data_dir / "ledger.db").write_bytes(b"not a database, but long enough to look like one" * 40)
    with pytest.raises(LedgerError, match=r"ledger\.db: .*not a database"):
        open_ledger(site, read_only=read_only)


def test_a_reader_reads_while_another_writes_and_cannot_write(ledger: Ledger, site: Site) -> None:
    works = site.enterprises["works"]
    told = {"recorded_at": NOON, "recorded_by": "Li Wei", "reason": "as reported"}
    with closing(open_ledger(site, read_only=True)) as reader:
        with ledger.booking(EVERYTHING, **told) as booking:
            assert booking.record(works)
            assert reader.enterprises(EVERYTHING, as_of=None, on=None) == []
        assert [row.fact for row in reader.enterprises(EVERYTHING, as_of=None, on=None)] == [works]
        with pytest.raises(LedgerError, match="read-only"):
            reader.record_enterprise(EVERYTHING, works, **told)


def test_a_rehearsal_knows_everything_and_leaves_nothing(ledger: Ledger, site: Site) -> None:
    record_topology(site, ledger, recorded_at=NOON, recorded_by="site file")
    before = (site.data_dir / "ledger.db").read_bytes()
    third = Enterprise(id="third", name_zh="三厂", name_en="third")
    with rehearsal(site) as trial:
        assert len(trial.enterprises(EVERYTHING, as_of=None, on=None)) == 2
        assert trial.record_enterprise(EVERYTHING, third, recorded_at=NOON, recorded_by="a", reason="b")
        assert len(trial.enterprises(EVERYTHING, as_of=None, on=None)) == 3
    assert (site.data_dir / "ledger.db").read_bytes() == before
    with rehearsal(replace(site, data_dir=site.data_dir / "none")) as trial:
        assert trial.enterprises(EVERYTHING, as_of=None, on=None) == []
    assert not (site.data_dir / "none").exists()


RACE = """
import sys
from pathlib import Path
from gateway.domain.production import Production
from gateway.domain.scopes import EVERYTHING
from gateway.domain.sites import Enterprise, Site
from gateway.ledger.opening import open_ledger
folder = Path(sys.argv[1])
site = Site(name="w", timezone="UTC", file=folder / "site.toml", data_dir=folder / "data", gateway_id="g",
            enterprises={}, lines={}, meters={}, points={}, accounts=())
print("ready", flush=True)
sys.stdin.readline()
for n in range(5):
    ledger = open_ledger(site, read_only=False)
    same = Enterprise(id=f"e{n}", name_zh="", name_en="")
    own = Enterprise(id=f"{sys.argv[2]}-{n}", name_zh="", name_en="")
    for fact in (same, own):
        ledger.record_enterprise(EVERYTHING, fact, recorded_at=1, recorded_by=sys.argv[2], reason="race")
    ledger.close()
"""


def test_processes_that_open_and_write_at_the_same_moment_lose_and_double_nothing(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RACE, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for name in ("a", "b", "c")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        _, complaints = racer.communicate(timeout=60)
        assert (racer.returncode, complaints) == (0, "")
    with closing(sqlite3.connect(tmp_path / "data" / "ledger.db")) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM enterprise ORDER BY id")]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    assert ids == sorted([f"{name}-{n}" for name in "abc" for n in range(5)] + [f"e{n}" for n in range(5)])


def test_a_writer_that_finds_another_at_work_says_so(
    ledger: Ledger, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.opening.WAIT_S", 0.05)
    told = {"recorded_at": NOON, "recorded_by": "Li Wei", "reason": "as reported"}
    with ledger.booking(EVERYTHING, **told), pytest.raises(LedgerError, match="another process has been writing"):
        ledger.record_enterprise(EVERYTHING, site.enterprises["works"], **told)
    assert ledger.record_enterprise(EVERYTHING, site.enterprises["works"], **told)
