"""The pages: the overview, the pedigree of any figure, and the list of routes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from analytics.pedigree import unfold
from api.access import Context, Here, Installation, Readings, figure_named, plant_period
from api.documents import journal_document
from api.pages.overview import ShownFigure, overview
from api.pages.wording import choose_language, words_of
from api.problems import not_found
from gateway.domain.periods import iso, to_datetime

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
_TEMPLATES = Environment(
    loader=PackageLoader("api.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
# Marks beside a number: symbol here, sentence in words.toml.
SYMBOLS = {
    "to_be_confirmed": "待确认",
    "instrument_overdue": "◷",
    "partial_coverage": "◔",
    "instrument_unverified": "○",
    "uncertainty_unknown": "U?",
    "estimated": "≈",
}
Language = Annotated[str | None, Query(alias="lang")]


@router.get("/")
def overview_page(
    request: Request,
    here: Here,
    context: Context,
    readings: Readings,
    enterprise: str = "",
    period_name: Annotated[str, Query(alias="period")] = "",
    lang: Language = None,
) -> HTMLResponse:
    """The overview of one enterprise and month."""
    visible = [one for one in here.site.enterprises.values() if context.scope.allows(one.id)]
    chosen = next((one for one in visible if one.id == (enterprise or one.id)), None)
    if chosen is None:
        raise not_found("enterprise", enterprise)
    name = period_name or to_datetime(here.clock.now(), here.site.timezone).strftime("%Y-%m")
    plant_period(here, name)  # a period that is none is told before anything is computed
    language = choose_language(lang, request.headers.get("accept-language", ""))
    journal = journal_document(here.site, readings, context.scope)
    return _page(
        "overview.html",
        request,
        here,
        language,
        enterprise={"id": chosen.id, "name": chosen.name_zh if language == "zh" else chosen.name_en},
        enterprises=visible,
        period=name,
        journal=journal,
        **overview(here, context, chosen.id, name, language),
    )


@router.get("/pedigree/{figure:path}")
def pedigree_page(request: Request, here: Here, context: Context, figure: str, lang: Language = None) -> HTMLResponse:
    """One figure unfolded: formula, conversion rows, readings, instruments, certificates, parts."""
    found = figure_named(context, figure)
    language = choose_language(lang, request.headers.get("accept-language", ""))
    return _page("pedigree.html", request, here, language, figure=ShownFigure(found), tree=unfold(context, found))


@router.get("/docs")
def routes_page(request: Request, here: Here, lang: Language = None) -> HTMLResponse:
    """The routes of the interface, read from its own OpenAPI document."""
    document = request.app.openapi()
    language = choose_language(lang, request.headers.get("accept-language", ""))
    routes = [
        {"path": path, "method": method.upper(), **operation}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return _page("routes.html", request, here, language, routes=routes)


def _page(template: str, request: Request, here: Installation, language: str, **values: Any) -> HTMLResponse:  # noqa: ANN401 - template values
    other = "en" if language == "zh" else "zh"
    text = _TEMPLATES.get_template(template).render(
        w=words_of(language),
        language=language,
        other_language_url=str(request.url.include_query_params(lang=other)),
        symbols=SYMBOLS,
        timezone=here.site.timezone,
        now=iso(here.clock.now() // 1_000_000 * 1_000_000, here.site.timezone),
        **values,
    )
    return HTMLResponse(text)
