"""The writer of lines: what each answer of a server amounts to, and how few lines a poison one takes with it.

Runs against the real InfluxDB 1.6.7 and VictoriaMetrics, and against a server of the contract for versions 2 and 3.
"""

import random
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gateway.domain.destinations import InfluxServer
from gateway.domain.readings import Reading
from gateway.errors import SinkBusy, SinkDenied, SinkRefuses, StoreError
from gateway.stores.influx_http import ANSWER_LIMIT
from gateway.stores.influx_writing import MANY, MOST_REFUSALS, LineWriter, RefusedLine
from gateway.stores.line_protocol import SeriesLines
from tests.stores.influx_answers import STORED, Asked, ContractServer, Told, failed
from tests.stores.influx_server import Influxd, free_port, need, running

NOON = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z [us]


def some_lines(number: int, first: int = 0) -> list[str]:
    readings = [Reading(f"steel/p{n % 7}/volume", NOON + n, n) for n in range(first, first + number)]
    return SeriesLines().lines(5, readings)


POISON = "readings,enterprise=steel,point=p1,quantity=volume count=1.5,quality=1i,sequence=5i 1767268800000001"
GARBAGE = "this is no line"


def taking(server: ContractServer, *, bad=(), whole: bool = True):
    """Version 2: a batch with a bad line is refused as a whole; with `whole` off its good lines are stored."""

    def answer(asked: Asked) -> Told:
        lines = asked.lines
        good = [line for line in lines if line not in bad]
        if len(good) == len(lines) or not whole:
            server.keep(good)
        return STORED if len(good) == len(lines) else failed(400, f"unable to parse {min(set(lines) & set(bad))!r}")

    return answer


@pytest.fixture
def contract():
    with ContractServer(lambda asked: STORED).serving() as server:
        yield server


# The answers, one by one


@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("gzip", [False, True])
def test_versions_2_and_3_get_text_with_their_token_organisation_and_precision(contract, version, gzip):
    with LineWriter(contract.declared(version, gzip=gzip), "s3cret") as writer:
        assert writer.write(some_lines(3)) == []
    (asked,) = contract.asked
    assert (asked.method, asked.path) == ("POST", "/api/v2/write")
    assert asked.query == {"org": "works", "bucket": "emg", "precision": "us"}
    assert asked.headers["Authorization"] == {"2": "Token s3cret", "3": "Bearer s3cret"}[version]
    assert asked.headers.get("Content-Encoding", "identity") == ("gzip" if gzip else "identity")
    assert asked.lines == some_lines(3)


@pytest.mark.parametrize("gzip", [False, True])
def test_version_1_gets_user_and_password_in_a_header_and_nowhere_else(contract, gzip, caplog):
    server = InfluxServer(url=contract.url, database="emg", version="1", username="meters", gzip=gzip)
    caplog.set_level(0)
    with LineWriter(server, "s3cret") as writer:
        assert writer.write(some_lines(3)) == []
    (asked,) = contract.asked
    assert (asked.path, asked.query) == ("/write", {"db": "emg", "precision": "u"})
    assert asked.headers["Authorization"] == "Basic bWV0ZXJzOnMzY3JldA=="
    assert asked.lines == some_lines(3)
    assert "s3cret" not in caplog.text
    assert "bWV0ZXJzOnMzY3JldA" not in caplog.text


def test_without_a_token_nothing_is_claimed(contract):
    with LineWriter(contract.declared(), "") as writer:
        writer.write(some_lines(1))
        assert writer.write([]) == []
    assert [("Authorization" in asked.headers) for asked in contract.asked] == [False]


@pytest.mark.parametrize(
    ("told", "patience_s"),
    [
        (failed(429, "too many", Retry_After="7"), 7.0),
        (failed(503, "later", Retry_After="1.5"), 1.5),
        (failed(503, "later"), 0.0),
        (failed(500, "engine: cache-max-memory-size exceeded", Retry_After="soon"), 0.0),
        (failed(503, "later", Retry_After="999999999"), 3600.0),
        (failed(429, "x", Retry_After="-5"), 0.0),
        (Told(502, b"<html>bad gateway</html>"), 0.0),
    ],
)
def test_a_server_that_asks_for_patience_gets_it(contract, told, patience_s):
    contract.answer = lambda asked: told
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(SinkBusy, match=f"HTTP {told.status}") as busy:
        writer.write(some_lines(3))
    assert busy.value.retry_after_s == patience_s
    assert len(contract.asked) == 1  # nothing is tried again behind the drain's back


def test_a_date_in_retry_after_is_taken_against_the_servers_own_clock(contract):
    then = datetime(2031, 5, 1, tzinfo=UTC)
    dates = [format_datetime(date, usegmt=True) for date in (then, then + timedelta(seconds=90))]
    contract.answer = lambda asked: Told(503, b"", {"Date": dates[0], "Retry-After": dates[1]})
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(SinkBusy) as busy:
        writer.write(some_lines(1))
    assert busy.value.retry_after_s == 90


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_does_not_let_us_in_holds_everything(contract, status):
    contract.answer = lambda asked: failed(status, "unauthorized access")
    with LineWriter(contract.declared(), "s3cret") as writer, pytest.raises(SinkDenied) as denied:
        writer.write(some_lines(100))
    assert "unauthorized access" in str(denied.value)
    assert "s3cret" not in str(denied.value)
    assert len(contract.asked) == 1


def test_a_missing_database_names_the_command_that_makes_it(contract):
    contract.answer = lambda asked: failed(404, 'bucket "emg" not found')
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(StoreError, match="emg db init SITE") as missing:
        writer.write(some_lines(3))
    assert type(missing.value) is StoreError
    assert 'bucket "emg" not found' in str(missing.value)


@pytest.mark.parametrize("trouble", ["reset", "hang"])
@pytest.mark.parametrize("status", [204, 503])
def test_an_answer_that_breaks_off_is_no_answer(contract, trouble, status):
    contract.answer = lambda asked: Told(200 if status == 204 else status, b"{", trouble=trouble)
    with LineWriter(contract.declared(timeout_s=0.3), "t") as writer, pytest.raises(SinkBusy, match=contract.url):
        writer.write(some_lines(3))


def test_a_server_that_is_not_there_is_busy():
    server = InfluxServer(url=f"http://127.0.0.1:{free_port()}", database="emg")
    with LineWriter(server, "t") as writer, pytest.raises(SinkBusy, match="did not answer"):
        writer.write(some_lines(3))


def test_a_redirection_is_told_not_followed(contract):
    contract.answer = lambda asked: Told(307, b"", {"Location": "http://127.0.0.1:9/\x1b[2Jelsewhere"})
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(StoreError, match=r"points to .*elsewhere"):
        writer.write(some_lines(3))
    assert len(contract.asked) == 1


def test_what_a_server_says_is_shown_escaped_and_cut(contract):
    contract.answer = lambda asked: Told(418, b"\x1b[2J\xff\r\n" + b"x" * 3 * ANSWER_LIMIT)
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(StoreError, match="418") as told:
        writer.write(some_lines(3))
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) < 600


def test_a_line_with_a_line_feed_is_never_sent(contract):
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(StoreError, match="line feed"):
        writer.write(["a b=1i 1\nc d=2i 2"])
    assert contract.asked == []


# Poison


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("at", [0, 1, 499, 500, 731, 998, 999])
def test_one_poison_line_of_a_thousand_is_found_with_twenty_requests(contract, whole, at):
    lines = [*some_lines(at), GARBAGE, *some_lines(999 - at, at)]
    contract.answer = taking(contract, bad={GARBAGE}, whole=whole)
    with LineWriter(contract.declared(), "t") as writer:
        assert [(refused.number, refused.line) for refused in writer.write(lines)] == [(at, GARBAGE)]
    assert sorted(contract.stored.values()) == sorted(set(lines) - {GARBAGE})
    assert len(contract.asked) <= 21


def test_every_poison_line_and_no_other_is_refused(contract):
    chosen = random.Random(4)
    for number in (1, 2, 3, 17, 64):
        lines = some_lines(number)
        bad = {f"bad {n}": n for n in chosen.sample(range(number), chosen.randint(0, min(number - 1, MANY)))}
        for line, n in bad.items():
            lines[n] = line
        contract.stored.clear()
        contract.answer = taking(contract, bad=bad)
        with LineWriter(contract.declared(), "t") as writer:
            refused = writer.write(lines)
        assert {line.line: line.number for line in refused} == bad
        assert all(re.fullmatch(r"HTTP 400: unable to parse 'bad \d+'", line.reason) for line in refused)
        assert sorted(contract.stored.values()) == sorted(set(lines) - set(bad))


@pytest.mark.parametrize("number", [1, 2, 19, 20, 1000, 10_000])
def test_a_server_or_proxy_that_answers_400_to_everything_is_trouble_and_no_poison(contract, number):
    contract.answer = lambda asked: Told(400, b"<html>Bad Request</html>")
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(SinkRefuses, match=r"0 were taken.*HTTP 400"):
        writer.write(some_lines(number))
    assert len(contract.asked) <= 60


@pytest.mark.parametrize(("number", "bad_ones"), [(400, 21), (2000, 101), (10_000, 600)])
def test_more_than_a_few_of_a_hundred_refused_are_held_with_a_bounded_number_of_requests(contract, number, bad_ones):
    lines = some_lines(number)
    bad = {f"bad {n}" for n in range(bad_ones)}
    for n, line in enumerate(sorted(bad)):
        lines[n * (number // bad_ones)] = line
    contract.answer = taking(contract, bad=bad)
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(SinkRefuses, match="too much"):
        writer.write(lines)
    assert len(contract.asked) <= 2 * MOST_REFUSALS + 1


def test_as_many_as_may_be_refused_are_found_in_the_greatest_request(contract):
    lines = some_lines(10_000)
    places = random.Random(7).sample(range(10_000), MANY)
    for n in places:
        lines[n] = f"bad {n}"
    contract.answer = taking(contract, bad={f"bad {n}" for n in places})
    with LineWriter(contract.declared(), "t") as writer:
        assert sorted(line.number for line in writer.write(lines)) == sorted(places)


def test_lines_of_a_series_arrive_in_their_order_while_poison_is_sought(contract):
    order: list[str] = []
    lines = [*some_lines(30), GARBAGE, *some_lines(30, 30)]
    keep = contract.keep
    contract.keep = lambda given: (order.extend(line for line in given if line not in order), keep(given))
    contract.answer = taking(contract, bad={GARBAGE}, whole=False)
    with LineWriter(contract.declared(), "t") as writer:
        writer.write(lines)
    assert order == [line for line in lines if line != GARBAGE]


def test_a_batch_that_is_too_large_is_sent_in_halves_and_a_line_too_large_is_refused(contract):
    def answer(asked: Asked) -> Told:
        if len(asked.body) > 4000:
            return Told(413, b"request entity too large")
        contract.keep(asked.lines)
        return STORED

    contract.answer = answer
    long = "readings,enterprise=steel,point=p,quantity=volume reason=" + '"' + "x" * 5000 + '" 1'
    lines = [*some_lines(100), long]
    with LineWriter(contract.declared(), "t") as writer:
        assert writer.write(lines) == [RefusedLine(100, long, "HTTP 413: request entity too large")]
    assert sorted(contract.stored.values()) == sorted(lines[:-1])


def test_trouble_in_the_middle_of_the_search_refuses_nothing(contract):
    poisoned = taking(contract, bad={GARBAGE})
    contract.answer = lambda asked: failed(503, "later") if len(contract.asked) > 4 else poisoned(asked)
    with LineWriter(contract.declared(), "t") as writer, pytest.raises(SinkBusy):
        writer.write([*some_lines(100), GARBAGE])


def test_an_answer_of_version_3_is_understood(contract):
    body = (
        b'{"error":"partial write of line protocol occurred","data":[{"original_line":"bad","line_number":1,'
        b'"error_message":"Expected at least one space character"}]}'
    )
    contract.answer = lambda asked: Told(400, body) if "bad" in asked.lines else STORED
    with LineWriter(contract.declared("3"), "t") as writer:
        (refused,) = writer.write(["bad", *some_lines(3)])
    assert refused.reason == (
        "HTTP 400: partial write of line protocol occurred: Expected at least one space character"
    )


# The real ones


@pytest.mark.servers
@pytest.mark.parametrize("poison", [POISON, GARBAGE])
def test_of_a_thousand_lines_the_real_influxdb_stores_all_but_the_poison(influxd, poison):
    server = influxd.database("poison")
    with LineWriter(server, "") as writer:
        assert writer.write(some_lines(10)) == []  # fixes the types of the fields
        lines = [*some_lines(300), poison, *some_lines(699, 300)]
        (refused,) = writer.write(lines)
    assert (refused.number, refused.line) == (300, poison)
    assert "field type conflict" in refused.reason or "unable to parse" in refused.reason
    assert influxd.query("SELECT count(count) FROM readings", "poison")[0]["values"][0][1] == 999


@pytest.mark.servers
def test_lines_beyond_the_retention_of_the_real_influxdb_are_refused_together(influxd):
    server = influxd.database("short")
    influxd.query('ALTER RETENTION POLICY "autogen" ON "short" DURATION 1d SHARD DURATION 1h')
    with LineWriter(server, "") as writer:
        refused = writer.write(["readings,point=old count=1i 1000000", "readings,point=old count=2i 2000000"])
    assert [line.number for line in refused] == [0, 1]
    assert all("retention" in line.reason for line in refused)


@pytest.mark.servers
def test_the_real_influxdb_without_the_database_or_with_a_foreign_user(influxd, tmp_path):
    absent = InfluxServer(url=influxd.url, database="absent", version="1")
    with LineWriter(absent, "") as writer, pytest.raises(StoreError, match=r"database not found.*emg db init SITE"):
        writer.write(some_lines(1))
    newer = InfluxServer(url=influxd.url, database="emg", version="2")
    with LineWriter(newer, "") as writer, pytest.raises(StoreError, match=r"404.*of version 2\?"):
        writer.write(some_lines(1))
    need("influxd", "influxdb")
    with running(Influxd(tmp_path, auth=True)) as guarded:
        guarded.ask("POST", "/query?q=CREATE+USER+meters+WITH+PASSWORD+%27s3cret%27+WITH+ALL+PRIVILEGES")
        guarded.ask("POST", "/query?u=meters&p=s3cret&q=CREATE+DATABASE+emg")
        server = InfluxServer(url=guarded.url, database="emg", version="1", username="meters")
        with LineWriter(server, "s3cret") as writer:
            assert writer.write(some_lines(5)) == []
        with LineWriter(server, "wrong") as writer, pytest.raises(SinkDenied, match="authorization failed"):
            writer.write(some_lines(5))


@pytest.mark.servers
def test_the_client_library_writes_version_2_into_the_real_victoria_metrics(victoria_metrics):
    with LineWriter(victoria_metrics.server("lib"), "") as writer:
        assert writer.write(some_lines(70)) == []
    found = victoria_metrics.export('readings_count{quantity="volume"}')
    assert {(row["metric"]["enterprise"], row["metric"]["point"]) for row in found} == {
        ("steel", f"p{n}") for n in range(7)
    }
    assert sorted(value for row in found for value in row["values"]) == list(range(70))
    assert {at for row in found for at in row["timestamps"]} == {NOON // 1000}  # it keeps milliseconds
