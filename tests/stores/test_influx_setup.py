"""`emg db init`: what it makes on a server, that doing it again changes nothing, and what it refuses.

Against the real InfluxDB 1.6.7, and against a server of the contract for versions 2 and 3.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.domain.destinations import InfluxServer
from gateway.errors import SinkBusy, SinkDenied, StoreError
from gateway.stores.influx_setup import SetUp, Step, set_up
from gateway.stores.influx_writing import LineWriter
from tests.analytics.test_analytics_commands import SITE
from tests.stores.influx_answers import Asked, ContractServer, Told, failed
from tests.stores.influx_server import Influxd, free_port, running

LINES = ["readings,point=a count=1i 1000000"]


def as_json(value: object, status: int = 200, **headers: str) -> Told:
    return Told(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers)


class Version2:
    """As much of InfluxDB 2 as the set-up needs: organisations, buckets and mappings."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict] = {}
        self.mappings: list[dict] = []

    def __call__(self, asked: Asked) -> Told:
        match asked.method, asked.path.split("/")[1:]:
            case _, ["ping"]:
                return Told(204, b"", {"X-Influxdb-Version": "v2.7.12"})
            case "GET", ["api", "v2", "orgs"]:
                if asked.query["org"] != "works":
                    return failed(404, "organization name not found")
                return as_json({"orgs": [{"id": "0" * 15 + "1", "name": "works"}]})
            case "GET", ["api", "v2", "buckets"]:
                found = self.buckets.get(asked.query["name"])
                return as_json({"buckets": [found]}) if found else failed(404, "bucket not found")
            case "POST", ["api", "v2", "buckets"]:
                bucket = {**json.loads(asked.body), "id": "b1", "type": "user"}
                self.buckets[bucket["name"]] = bucket
                return as_json(bucket, 201)
            case "PATCH", ["api", "v2", "buckets", "b1"]:
                self.buckets["emg"] |= json.loads(asked.body)
                return as_json(self.buckets["emg"])
            case "GET", ["api", "v2", "dbrps"]:
                return as_json({"content": self.mappings})
            case "POST", ["api", "v2", "dbrps"]:
                self.mappings.append({**json.loads(asked.body), "id": "d1"})
                return as_json(self.mappings[-1], 201)
        raise AssertionError(asked)


class Version3:
    """As much of InfluxDB 3 as the set-up needs."""

    def __init__(self) -> None:
        self.databases: dict[str, dict] = {}

    def __call__(self, asked: Asked) -> Told:
        assert asked.headers["Authorization"] == "Bearer s3cret"
        match asked.method, asked.path:
            case _, "/ping":
                return as_json({"version": "3.9.0"}, **{"X-Influxdb-Version": "3.9.0"})
            case "GET", "/api/v3/configure/database":
                return as_json([{"iox::database": name} for name in ("_internal", *self.databases)])
            case "POST", "/api/v3/configure/database":
                made = json.loads(asked.body)
                self.databases[made["db"]] = made
                return Told(200)
        raise AssertionError(asked)


@pytest.fixture
def contract() -> Iterator[ContractServer]:
    with ContractServer(Version2()).serving() as server:
        yield server


def steps(made: SetUp) -> list[bool]:
    return [step.done for step in made.steps]


@pytest.mark.servers
def test_version_1_gets_a_database_with_its_retention_once(influxd):
    influxd.query('DROP DATABASE "set-up"')
    server = InfluxServer(url=influxd.url, database="set-up", version="1", keep_days=90)
    assert steps(set_up(server, "", dry_run=True)) == [False, False]
    assert ["set-up"] not in influxd.query("SHOW DATABASES")[0].get("values", [])
    made = set_up(server, "", dry_run=False)
    assert made.version.startswith("1.6.7")
    assert made.steps == [Step("database set-up", done=False), Step("readings kept 90 days", done=False)]
    assert steps(set_up(server, "", dry_run=False)) == [True, True]
    ((name, duration, shard, _, default),) = influxd.query('SHOW RETENTION POLICIES ON "set-up"')[0]["values"]
    assert (name, duration, shard, default) == ("autogen", "2160h0m0s", "24h0m0s", True)
    with LineWriter(server, "") as writer:
        assert len(writer.write(LINES)) == 1  # 1970 is long ago


@pytest.mark.servers
@pytest.mark.parametrize(("days", "kept"), [(0, "0s"), (1, "24h0m0s"), (400, "9600h0m0s")])
def test_version_1_follows_the_site_file_when_the_retention_changes(influxd, days, kept):
    server = InfluxServer(url=influxd.url, database="changed", version="1", keep_days=30)
    set_up(server, "", dry_run=False)
    changed = InfluxServer(url=influxd.url, database="changed", version="1", keep_days=days)
    would = set_up(changed, "", dry_run=True)
    assert would.steps[1].what.endswith("(was 30 days)")
    assert set_up(changed, "", dry_run=False).steps == would.steps
    assert influxd.query('SHOW RETENTION POLICIES ON "changed"')[0]["values"][0][1] == kept
    assert steps(set_up(changed, "", dry_run=False)) == [True, True]


@pytest.mark.servers
def test_version_1_keeps_the_policy_that_somebody_made_the_default(influxd):
    influxd.query('DROP DATABASE "own"')
    influxd.query('CREATE DATABASE "own" WITH DURATION 30d NAME "their own"')
    server = InfluxServer(url=influxd.url, database="own", version="1", keep_days=60)
    set_up(server, "", dry_run=False)
    found = influxd.query('SHOW RETENTION POLICIES ON "own"')[0]["values"]
    assert [(row[0], row[1], row[4]) for row in found] == [("their own", "1440h0m0s", True)]


@pytest.mark.servers
def test_version_1_with_users_needs_the_right_password(tmp_path, influxd):
    del influxd  # skips where it is not installed
    with running(Influxd(tmp_path, auth=True)) as guarded:
        guarded.ask("POST", "/query?q=CREATE+USER+meters+WITH+PASSWORD+%27s3cret%27+WITH+ALL+PRIVILEGES")
        server = InfluxServer(url=guarded.url, database="emg", version="1", username="meters")
        with pytest.raises(SinkDenied, match="authorization failed"):
            set_up(server, "wrong", dry_run=False)
        assert steps(set_up(server, "s3cret", dry_run=False)) == [False, True]


@pytest.mark.servers
def test_a_server_of_another_version_is_refused(influxd, victoria_metrics):
    with pytest.raises(StoreError, match=r"says it is version 1\.6\.7.*expected 2, as declared"):
        set_up(InfluxServer(url=influxd.url, database="emg", version="2", org="works"), "t", dry_run=False)
    with pytest.raises(StoreError, match=r"expected 2, as declared.*victoriametrics"):
        set_up(InfluxServer(url=victoria_metrics.url, database="emg", version="2"), "", dry_run=False)
    with pytest.raises(SinkBusy, match="did not answer"):
        set_up(InfluxServer(url=f"http://127.0.0.1:{free_port()}", database="emg"), "", dry_run=False)


def test_version_2_gets_a_bucket_its_retention_and_a_mapping_once(contract):
    works = contract.answer
    server = contract.declared("2", keep_days=30)
    assert steps(set_up(server, "t", dry_run=True)) == [False, False, False]
    assert (works.buckets, works.mappings) == ({}, [])
    assert steps(set_up(server, "t", dry_run=False)) == [False, False, False]
    assert works.buckets["emg"]["retentionRules"] == [{"type": "expire", "everySeconds": 30 * 86400}]
    (mapping,) = works.mappings
    assert {key: mapping[key] for key in ("orgID", "bucketID", "database", "retention_policy", "default")} == {
        "orgID": "0" * 15 + "1",
        "bucketID": "b1",
        "database": "emg",
        "retention_policy": "autogen",
        "default": True,
    }
    assert steps(set_up(server, "t", dry_run=False)) == [True, True, True]
    longer = contract.declared("2", keep_days=60)
    assert steps(set_up(longer, "t", dry_run=False)) == [True, False, True]
    assert works.buckets["emg"]["retentionRules"] == [{"type": "expire", "everySeconds": 60 * 86400}]


def test_version_2_without_the_organisation_or_the_rights(contract):
    server = InfluxServer(url=contract.url, database="emg", org="mine")
    with pytest.raises(StoreError, match="knows no organisation 'mine'"):
        set_up(server, "t", dry_run=False)
    works = contract.answer
    contract.answer = lambda asked: failed(403, "insufficient permissions") if "buckets" in asked.path else works(asked)
    with pytest.raises(SinkDenied, match="insufficient permissions"):
        set_up(contract.declared(), "t", dry_run=False)


def test_version_3_gets_a_database_once_and_its_retention_then_only(contract):
    works = contract.answer = Version3()
    server = contract.declared("3", keep_days=30)
    assert steps(set_up(server, "s3cret", dry_run=True)) == [False, False]
    assert steps(set_up(server, "s3cret", dry_run=False)) == [False, False]
    assert works.databases == {"emg": {"db": "emg", "retention_period": "30d"}}
    again = set_up(contract.declared("3", keep_days=60), "s3cret", dry_run=False)
    assert steps(again) == [True, True]
    assert "never changes it" in again.steps[1].what


# The command


@pytest.fixture
def site_file(tmp_path, influxd) -> Path:
    path = tmp_path / "site.toml"
    store = f'[store]\nkind = "influxdb"\nurl = "{influxd.url}"\ndatabase = "store"\nversion = "1"\n'
    sink = f'[[sink]]\nid = "copy"\nkind = "influxdb"\nurl = "{influxd.url}"\ndatabase = "copy"\nversion = "1"\n'
    other = '[[sink]]\nid = "vm"\nkind = "victoriametrics"\nurl = "http://127.0.0.1:9"\n'
    path.write_text(f"{SITE}\n{store}\n{sink}keep_days = 7\n{other}", "utf-8")
    for database in ("store", "copy"):
        influxd.query(f'DROP DATABASE "{database}"')
    return path


@pytest.mark.servers
def test_the_command_serves_store_and_sinks(site_file, influxd, capsys):
    assert main(["db", "init", str(site_file), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("missing, would be made") == 3
    assert main(["db", "init", str(site_file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: [step["done"] for step in one["steps"]] for name, one in told.items()} == {
        "store": [False, True],
        "sink copy": [False, False],
    }
    assert main(["db", "init", str(site_file)]) == 0
    assert "made" not in capsys.readouterr().out
    assert {"store", "copy"} <= {row[0] for row in influxd.query("SHOW DATABASES")[0]["values"]}


def test_a_site_without_influxdb_has_nothing_to_make(tmp_path, capsys):
    path = tmp_path / "site.toml"
    path.write_text(SITE, "utf-8")
    assert main(["db", "init", str(path)]) == 0
    assert "nothing to make" in capsys.readouterr().out
