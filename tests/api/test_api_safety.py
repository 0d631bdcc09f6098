"""Who may see what, and what a browser is told: scope on every route, headers, host names, hostile words."""

import re

import pytest

from api.access import caller_scope
from api.app import SECURITY_HEADERS
from gateway.domain.scopes import Scope, scope_of
from tests.api.test_api_problems import GOOD, PAGES, request_of
from tests.api.works import DAY, SCRIPT, Caller, application, routes


@pytest.fixture
def of_beta(works):
    app = application(works)
    app.dependency_overrides[caller_scope] = lambda: scope_of("beta")
    return Caller(app)


def everywhere(app):
    """Each route of the OpenAPI document and each page, with requests for what is alpha's."""
    for path, names in [*routes(app), *PAGES]:
        yield path, *request_of(path, names, GOOD)


async def test_another_enterprise_looks_on_every_route_as_if_it_did_not_exist(of_beta):
    for path, url, params in everywhere(of_beta.app):
        theirs = await of_beta.get(url, **params)
        ghost = await of_beta.get(
            url.replace("alpha", "ghost"), **{name: value.replace("alpha", "ghost") for name, value in params.items()}
        )
        assert theirs.status_code == ghost.status_code, path
        assert theirs.text.replace("alpha", "ghost") == ghost.text, path
        if "enterprise" in params or "figure" in path:
            assert theirs.status_code == 404, path
        else:
            assert not re.search("alpha|阿尔法", theirs.text, re.IGNORECASE), path


async def test_own_answers_contain_nothing_of_the_other(of_beta):
    own = GOOD | {"enterprise": "beta", "point": "beta-grid", "instrument": "BETA-E1"}
    own["figure"] = f"comprehensive_energy/beta/{DAY}/total@2026-10-15T16:00:05Z"
    seen = 0
    for path, names in [*routes(of_beta.app), *PAGES]:
        answer = await of_beta.get(*(parts := request_of(path, names, own))[:1], **parts[1])
        assert answer.status_code == 200, f"{path}: {answer.text}"
        assert not re.search("alpha|阿尔法", answer.text, re.IGNORECASE), path
        seen += "beta" in answer.text.lower()
    assert seen >= 12  # it did look at answers that speak of beta
    # 97 readings of beta-grid of the 292 in the store
    assert (await of_beta.json("/api/v1/journal"))["stored_readings"] == 97


async def test_a_caller_who_may_see_nothing_sees_nothing(works):
    app = application(works)
    app.dependency_overrides[caller_scope] = lambda: Scope(frozenset())
    caller = Caller(app)
    assert await caller.json("/api/v1/enterprises") == []
    assert (await caller.json("/readyz"))["ages_s"] == {}
    assert (await caller.get("/")).status_code == 404


async def test_every_answer_carries_the_headers_that_keep_a_browser_safe(caller):
    for url in (
        "/",
        "/docs",
        "/healthz",
        "/metrics",
        "/static/page.css",
        "/api/v1/points?enterprise=alpha",
        "/api/v1/points?enterprise=mill",
        "/nothing",
    ):
        answer = await caller.get(url)
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS, url
    assert "default-src 'self'" in SECURITY_HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:8460", 200), ("localhost:8460", 200), ("[::1]:8460", 200), ("evil.example", 400), ("127.0.0.1.evil.example", 400), ("testserver", 400),
])  # fmt: skip
async def test_it_answers_only_under_its_own_names(caller, host, status):
    assert (await caller.get("/healthz", headers={"host": host})).status_code == status


async def test_no_page_needs_anything_that_its_own_policy_forbids(caller):
    for url in (f"/?enterprise=alpha&period={DAY}", "/docs", f"/pedigree/{GOOD['figure']}"):
        page = (await caller.get(url)).text
        assert not re.search(r"<script(?![^>]* src=\"/static/)|\son\w+=|\sstyle=|<style|javascript:", page), url
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//(?!127\.0\.0\.1:8460/)", page), url


async def test_hostile_names_are_words_and_nothing_else(caller):
    for lang in ("zh", "en"):
        page = (await caller.get("/", enterprise="alpha", period=DAY, lang=lang)).text
        assert SCRIPT not in page
        assert "&lt;script&gt;" in page
    refused = await caller.get("/", enterprise=SCRIPT)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["x-content-type-options"] == "nosniff"
