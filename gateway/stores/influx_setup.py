"""Makes on a server what readings need: a database (1), a bucket and its mapping (2), a database (3), with retention.

Doing it again changes nothing. The version that the server says it has is held against the declared one first.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import influxdb_client

from gateway.domain.destinations import InfluxServer
from gateway.errors import StoreError
from gateway.stores.influx_http import AnsweredBadly, Connection, connect, escaped, outcome

POLICY = "autogen"  # the retention policy that version 1 makes by itself
_DURATION = re.compile(r"(\d+)h(\d+)m(\d+)s")
DAY_S = 86_400
_library: Any = influxdb_client  # its own types are too few to be checked against


class Step(NamedTuple):
    """One thing that is to be there; `done` says that it was before."""

    what: str
    done: bool


class SetUp(NamedTuple):
    """A server as it was found, and what was made on it (or would be, in a dry run)."""

    url: str
    version: str
    steps: list[Step]


def set_up(server: InfluxServer, token: str, *, dry_run: bool) -> SetUp:
    """Make what is missing for `server.database`.

    Raises StoreError when the server is of another version than declared, refuses, or does not answer.
    """
    connection = connect(server, token)
    try:
        version = _version(server, connection)
        make = {"1": _version_1, "2": _version_2, "3": _version_3}[server.version]
        return SetUp(server.url, version, make(server, connection, dry_run=dry_run))
    except AnsweredBadly as error:
        raise outcome(server, error.answer) from None
    finally:
        connection.pool.close()


def _version(server: InfluxServer, connection: Connection) -> str:
    """The version that the server names. Raises StoreError unless it is the declared one."""
    headers = connection.pool.request("GET", f"{server.url}/ping", headers=connection.headers).headers
    found = escaped(headers.get("X-Influxdb-Version", ""))
    if found.lstrip("v").split(".")[0] != server.version:
        raise StoreError(
            f"{server.url} says it is version {found or '(none)'}; expected {server.version}, as declared. "
            "Change `version` in the site file, or `url` if it is another server; a VictoriaMetrics is a [[sink]] of "
            'kind = "victoriametrics" and needs no database.'
        )
    return found


def _version_1(server: InfluxServer, connection: Connection, *, dry_run: bool) -> list[Step]:
    def ask(statement: str) -> list[list[Any]]:
        return _influxql(server, connection, statement)

    name = server.database  # pasted below: a name is letters, digits, '_' and '-' by the form of the site file
    steps = [Step(f"database {name}", [name] in ask("SHOW DATABASES"))]
    if not steps[0].done and not dry_run:
        ask(f'CREATE DATABASE "{name}" WITH NAME "{POLICY}"')
    policies = ask(f'SHOW RETENTION POLICIES ON "{name}"') if steps[0].done or not dry_run else []
    # (name, duration, shard duration, replicas, default): readings go to the default one
    policy, held = next(((row[0], _seconds(row[1])) for row in policies if row[4]), (POLICY, None if policies else 0))
    wanted = server.keep_days * DAY_S
    keep = Step(_retention(server, held), held == wanted)
    if not keep.done and not dry_run:
        duration = f"{server.keep_days}d" if server.keep_days else "INF"
        verb = "CREATE" if held is None else "ALTER"
        shard = "1h" if 0 < server.keep_days <= 2 else "1d" if 0 < server.keep_days < 180 else "7d"
        quoted = policy.replace("\\", r"\\").replace('"', r"\"")
        ask(
            f'{verb} RETENTION POLICY "{quoted}" ON "{name}" DURATION {duration} REPLICATION 1 '
            f"SHARD DURATION {shard} DEFAULT"
        )
    return [*steps, keep]


def _version_2(server: InfluxServer, connection: Connection, *, dry_run: bool) -> list[Step]:
    client: Any = connection.client
    buckets = client.buckets_api()
    org = _organisation(server, client)
    bucket = _or_none(lambda: buckets.find_bucket_by_name(server.database))
    wanted = server.keep_days * DAY_S
    rules = [_library.BucketRetentionRules(every_seconds=wanted)] if wanted else []
    steps = [Step(f"bucket {server.database} of {server.org}", bucket is not None)]
    if bucket is None:
        steps.append(Step(_retention(server, 0), not wanted))
        if not dry_run:
            bucket = buckets.create_bucket(bucket_name=server.database, org=org, retention_rules=rules)
    else:
        held = sum(rule.every_seconds or 0 for rule in bucket.retention_rules or [])
        steps.append(Step(_retention(server, held), held == wanted))
        if held != wanted and not dry_run:
            bucket.retention_rules = rules
            bucket = buckets.update_bucket(bucket)
    mappings = _library.DBRPsService(client.api_client)
    found = [] if bucket is None else mappings.get_dbr_ps(org_id=org.id, db=server.database).content or []
    mapped = any(one.bucket_id == bucket.id and one.default for one in found)
    steps.append(Step(f"mapping of the name {server.database} to the bucket, for InfluxQL", mapped))
    if not mapped and not dry_run:
        names = {"database": server.database, "retention_policy": POLICY, "default": True}
        mappings.post_dbrp(_library.DBRPCreate(org_id=org.id, bucket_id=bucket.id, **names))
    return steps


def _version_3(server: InfluxServer, connection: Connection, *, dry_run: bool) -> list[Step]:
    address = f"{server.url}/api/v3/configure/database"
    headers = {**connection.headers, "Content-Type": "application/json"}
    answer = connection.pool.request("GET", f"{address}?format=json", headers=headers)
    try:
        present = server.database in {one["iox::database"] for one in json.loads(answer.data)}
    except (ValueError, TypeError, KeyError) as trouble:
        raise StoreError(f"{server.url}: found {escaped(answer.data.decode())}; expected its databases.") from trouble
    steps = [Step(f"database {server.database}", present)]
    if present:
        return [*steps, Step("retention as set when the database was made; this version never changes it", done=True)]
    if not dry_run:
        period = {"retention_period": f"{server.keep_days}d"} if server.keep_days else {}
        connection.pool.request("POST", address, body=json.dumps({"db": server.database} | period), headers=headers)
    return [*steps, Step(_retention(server, 0), not server.keep_days)]


def _influxql(server: InfluxServer, connection: Connection, statement: str) -> list[list[Any]]:
    """The rows of one statement of version 1."""
    body = urlencode({"q": statement})
    headers = {**connection.headers, "Content-Type": "application/x-www-form-urlencoded"}
    said = connection.pool.request("POST", f"{server.url}/query", body=body, headers=headers).data.decode()
    try:
        result = json.loads(said)["results"][0]
        if "error" in result:
            raise StoreError(f"{server.url} answered to {statement!r}: {escaped(str(result['error']))}")
        return [row for series in result.get("series", []) for row in series.get("values", [])]
    except (ValueError, TypeError, KeyError, AttributeError) as trouble:
        raise StoreError(f"{server.url} answered to {statement!r}: {escaped(said)}; expected rows.") from trouble


def _organisation(server: InfluxServer, client: Any) -> Any:  # noqa: ANN401 - the library's objects have no types
    found = _or_none(lambda: client.organizations_api().find_organizations(org=server.org))
    if not found:
        raise StoreError(
            f"{server.url} knows no organisation {server.org!r} (key `org` in the site file); an administrator makes "
            "it, or the token belongs to another one."
        )
    return found[0]


def _or_none(ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - the library's objects have no types
    """What is found; None where the server says that there is none, which some releases do by 404."""
    try:
        return ask()
    except AnsweredBadly as error:
        if error.answer.status == 404:
            return None
        raise


def _seconds(duration: str) -> int:
    """A duration as version 1 prints it, e.g. 168h0m0s; 0 is for ever."""
    found = _DURATION.fullmatch(duration)
    hours, minutes, seconds = map(int, found.groups()) if found else (0, 0, 0)
    return hours * 3600 + minutes * 60 + seconds


def _retention(server: InfluxServer, held_s: int | None) -> str:
    wanted = f"{server.keep_days} days" if server.keep_days else "for ever"
    was = f" (was {held_s // DAY_S} days)" if held_s and held_s != server.keep_days * DAY_S else ""
    return f"readings kept {wanted}{was}"
