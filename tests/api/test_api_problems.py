"""Trouble over HTTP: a sentence as problem+json and the right status, whatever is asked, and never a trace."""

import re
from urllib.parse import quote

import httpx
import pytest

from tests.api.works import DAY, Caller, acquire_day, application, routes, settle, site_in

GOOD = {
    "enterprise": "alpha", "point": "alpha-gas", "period": DAY, "start": "0", "end": "1", "quantity": "", "by": "day", "as_of": "2026-10-15T16:00:00Z",
    "on": DAY, "instrument": "ALPHA-G1", "figure": f"standard_coal/alpha/{DAY}/natural_gas@2026-10-15T16:00:05Z",
}  # fmt: skip
HOSTILE = (
    "", "nonsense", "\x00", "9999-12-31", "9999", "0000-01-01", "2026-13", "2026-10-15..9999-12-31", "../../etc/passwd", "-1", "9" * 40, "1e400",
    "NaN", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "<script>", "a/b/c", "a/b/c/d@e", "' OR 1=1 --", "é" * 300, "standard_coal/alpha/9999-12-31/natural_gas@2026-10-15T16:00:05Z",
    f"standard_coal/alpha/{DAY}/natural_gas@0001-01-01T00:00:00+14:00", f"standard_coal/alpha/{DAY}/natural_gas@9999-12-31T23:59:59-14:00",
)  # fmt: skip
PAGES = [("/", ["enterprise", "period", "lang"]), ("/pedigree/{figure}", ["figure"])]


def request_of(path: str, names: list[str], values: dict[str, str]) -> tuple[str, dict[str, str]]:
    """URL and parameters for a path; those that stand in the path are put there."""
    params = {name: values[name] for name in names if f"{{{name}}}" not in path and name in values}
    return re.sub(r"\{(\w+)\}", lambda match: quote(values[match[1]]), path), params


def is_problem(answer) -> bool:
    document = answer.json()
    return (
        answer.headers["content-type"] == "application/problem+json"
        and document["status"] == answer.status_code
        and len(document["detail"]) > 10
        and "Traceback" not in answer.text
    )


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        ("/api/v1/points?enterprise=mill", 404, "there is no enterprise 'mill' here"),
        ("/api/v1/readings/latest?enterprise=mill", 404, "there is no enterprise 'mill' here"),
        ("/api/v1/instruments?enterprise=mill", 404, "there is no enterprise 'mill' here"),
        ("/api/v1/certificates?enterprise=mill", 404, "there is no enterprise 'mill' here"),
        (f"/api/v1/figures?enterprise=mill&period={DAY}", 404, "there is no enterprise 'mill' here"),
        (f"/api/v1/intervals?enterprise=alpha&point=kiln&period={DAY}", 404, "there is no metering point 'alpha/kiln' here"),
        (f"/api/v1/intervals?enterprise=alpha&point=beta-grid&period={DAY}", 404, "there is no metering point 'alpha/beta-grid' here"),
        (f"/api/v1/consumption?enterprise=alpha&point=alpha-gas&quantity=mass&period={DAY}", 404, "there is no series 'alpha/alpha-gas/mass' here"),
        (f"/api/v1/consumption?enterprise=alpha&point=alpha-grid&quantity=active_power&period={DAY}", 422, "momentary value"),
        ("/api/v1/intervals?enterprise=alpha&point=alpha-gas&period=October", 422, "YYYY-MM"),
        ("/api/v1/consumption?enterprise=alpha&point=alpha-gas&period=2026-02-30", 422, "day is out of range"),
        ("/api/v1/figures?enterprise=alpha&period=9999", 422, "'9999'"),
        (f"/api/v1/figures?enterprise=alpha&period={DAY}&as_of=yesterday", 422, "see `errors` for each parameter"),
        (f"/api/v1/figures?enterprise=alpha&period={DAY}&as_of=2026-10-16T00:00:06%2B08:00", 422, "lies in the future"),
        ("/api/v1/readings?enterprise=alpha&point=alpha-gas&start=0", 422, "see `errors` for each parameter"),
        ("/api/v1/figures/standard_coal", 404, "a figure id is kind/enterprise/period/key"),
        (f"/api/v1/figures/warmth/alpha/{DAY}/x@2026-10-15T16:00:05Z", 404, "there is no kind of figure 'warmth'"),
        (f"/api/v1/figures/standard_coal/alpha/{DAY}/peat@2026-10-15T16:00:05Z/pedigree", 404, "peat"),
        (f"/pedigree/standard_coal/mill/{DAY}/natural_gas@2026-10-15T16:00:05Z", 404, "no enterprise 'mill' is known here"),
        ("/?enterprise=mill", 404, "there is no enterprise 'mill' here"),
        ("/?period=October", 422, "YYYY-MM"),
        ("/api/v1/nothing", 404, "GET /api/v1/nothing is not offered here"),
        ("/static/../app.py", 404, "not offered here"),
    ],
)  # fmt: skip
async def test_a_request_that_does_not_fit_gets_a_sentence(caller, url, status, words):
    answer = await caller.get(url)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_nothing_that_is_asked_makes_the_program_stumble(caller):
    for path, names in [*routes(caller.app), *PAGES]:
        for wrong in names:
            for value in HOSTILE:
                url, params = request_of(path, names, GOOD | {wrong: value})
                answer = await caller.get(url, **params)
                where = f"{path} {wrong}={value!r}: {answer.status_code} {answer.text[:300]}"
                assert answer.status_code in {200, 307, 404, 422}, where
                assert answer.is_success or answer.is_redirect or is_problem(answer), where


async def test_before_anything_is_acquired_every_route_says_what_makes_its_source(tmp_path):
    caller = Caller(application(site_in(tmp_path)))
    assert (await caller.json("/healthz"))["status"] == "alive"
    assert (await caller.get("/docs")).status_code == 200
    for path, names in [*routes(caller.app), *PAGES]:
        if path not in {"/healthz", "/metrics"}:  # these say it in their own words
            url, params = request_of(path, names, GOOD)
            answer = await caller.get(url, **params)
            assert (answer.status_code, is_problem(answer)) == (503, True), f"{path}: {answer.text}"
            assert "`emg " in answer.json()["detail"], path


async def test_each_missing_source_is_named_in_turn(tmp_path):
    site = site_in(tmp_path)
    caller = Caller(application(site))
    acquire_day(site)
    assert (await caller.json("/api/v1/journal"))["stored_readings"] == 292  # readings alone suffice for health
    assert (await caller.json("/readyz"))["ready"] is True
    answer = await caller.get("/api/v1/points?enterprise=alpha")
    assert (answer.status_code, "`emg settle SITE`" in answer.json()["detail"]) == (503, True), answer.text
    settle(site)
    answer = await caller.get("/api/v1/points?enterprise=alpha")
    assert (answer.status_code, "there is no ledger yet" in answer.json()["detail"]) == (503, True), answer.text


async def test_an_error_that_nobody_foresaw_shows_no_trace(works):
    app = application(works)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret detail")

    answer = await Caller(app).get("/broken")
    assert (answer.status_code, is_problem(answer)) == (500, True)
    assert "secret" not in answer.text


async def test_a_method_that_writes_is_refused(caller):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=caller.app), base_url="http://127.0.0.1") as client:
        for path, _ in routes(caller.app):
            answer = await client.post(path.replace("{figure}", "x"))
            assert answer.status_code == 405
            assert answer.headers["allow"] == "GET"
