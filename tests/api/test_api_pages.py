"""The pages: figures in both languages, and a way from every one of them down to evidence."""

import html
import re

import pytest

from tests.api.works import DAY, application


@pytest.mark.parametrize(("lang", "words"), [
    ("zh", ("阿尔法厂", "综合能耗", "电", "能源计量网关", "有效", "待确认")),
    ("en", ("Alpha works", "comprehensive energy consumption", "Energy metrology gateway", "In date")),
])  # fmt: skip
async def test_the_overview_shows_the_figures_in_both_languages(caller, lang, words):
    answer = await caller.get("/", enterprise="alpha", period=DAY, lang=lang)
    assert answer.status_code == 200
    page = html.unescape(answer.text)
    # 1164.28 + 589.92 kgce; 960 m3; 4800 kWh; / 200 t; shares 1164.28 / 1754.20 and 589.92 / 1754.20
    for figure in ("1,754.20", "960 ± 11", "4,800.00", "1,164 ± 13", "589.920", "8.77100", "66.4", "33.6"):
        assert figure in page, figure
    for word in words:
        assert word.lower() in page.lower(), word
    assert "Undefined" not in page
    assert f'<html lang="{"zh-CN" if lang == "zh" else "en"}">' in page


async def test_every_figure_on_the_overview_leads_to_readings_or_certificates(caller):
    for enterprise in ("alpha", "beta"):
        page = (await caller.get("/", enterprise=enterprise, period=DAY, lang="en")).text
        links = sorted(set(re.findall(r'href="(/pedigree/[^"]+)"', page)))
        assert len(links) >= 5
        for link in links:
            answer = await caller.get(html.unescape(link))
            assert answer.status_code == 200, f"{link}: {answer.text}"
            assert re.search(r"\b[0-9a-f]{64}\b|certificate", answer.text), link


async def test_the_language_is_that_of_the_browser_unless_asked_otherwise(caller):
    async def lang_of(accepted: str, **params: str) -> str:
        page = (await caller.get("/", headers={"accept-language": accepted}, **params)).text
        return re.search(r'<html lang="([^"]+)">', page)[1]

    assert await lang_of("en-GB,en;q=0.9") == "en"
    assert await lang_of("fr,zh-CN;q=0.8,en;q=0.5") == "zh-CN"
    assert await lang_of("fr") == "zh-CN"
    assert await lang_of("en", lang="zh") == "zh-CN"


async def test_a_month_without_readings_is_a_page_that_shows_no_zero(caller):
    page = (await caller.get("/", enterprise="alpha", period="2026-09", lang="en")).text
    used = page[page.index("Energy used") : page.index("<h2>Are the instruments")]
    assert "—" in used
    assert not re.search(r">0(?:\.0+)?</a>", used)


async def test_the_page_opens_on_the_month_of_plant_time(works, caller):
    assert 'name="period" value="2026-10"' in (await caller.get("/")).text
    # half past midnight of 1 November in Shanghai is still October in UTC
    late = type(caller)(application(works, "2026-11-01T00:30:00"))
    assert 'name="period" value="2026-11"' in (await late.get("/")).text
