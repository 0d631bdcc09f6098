"""A site file table by table: what is well-formed of it, so that every mistake is told in one go."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.destination_form import (
    SINK_FORMS,
    STORE_FORMS,
    WITNESS_FORMS,
    EmbeddedStoreForm,
    JournalForm,
    SinkForm,
    StoreForm,
    WitnessForm,
)
from gateway.errors import Problem
from gateway.line_form import LINE_FORMS, LineForm
from gateway.payload_mapping import PayloadMapping
from gateway.profile import Profile
from gateway.site_form import (
    AccountForm,
    ApiForm,
    DerivedPointForm,
    EnterpriseForm,
    MeterForm,
    MetricsForm,
    MetrologyForm,
    PointForm,
    SettleForm,
    SiteForm,
    SiteTable,
)
from gateway.toml_form import Form, closest, fill, shown
from gateway.toml_lines import Place, TomlLines

_Form = TypeVar("_Form", bound=Form)
NAMED = ("enterprise", "line", "meter", "point", "sink")  # tables whose elements have an id


@dataclass(slots=True, kw_only=True)
class SiteDraft:
    """The well-formed tables of a site file, with their places.

    `ids` holds the id of every element, also of malformed ones, so that one mistake is not told twice.
    """

    lines: TomlLines
    site: SiteTable | None = None
    enterprises: dict[Place, EnterpriseForm] = field(default_factory=dict)
    ways: dict[Place, LineForm] = field(default_factory=dict)  # the [[line]] tables
    meters: dict[Place, MeterForm] = field(default_factory=dict)
    points: dict[Place, PointForm] = field(default_factory=dict)
    derived: dict[Place, DerivedPointForm] = field(default_factory=dict)  # the [[point]] tables with a formula
    accounts: dict[Place, AccountForm] = field(default_factory=dict)
    store: StoreForm = field(default_factory=EmbeddedStoreForm)
    sinks: dict[Place, SinkForm] = field(default_factory=dict)
    journal: JournalForm = field(default_factory=JournalForm)
    witness: WitnessForm | None = None
    api: ApiForm = field(default_factory=ApiForm)
    metrics: MetricsForm = field(default_factory=MetricsForm)
    settle: SettleForm = field(default_factory=SettleForm)
    metrology: MetrologyForm = field(default_factory=MetrologyForm)
    ids: dict[str, dict[str, Place]] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    mappings: dict[str, PayloadMapping] = field(default_factory=dict)  # of MQTT lines, by their id
    heard: dict[str, Sequence[str]] = field(default_factory=dict)  # topic filters by the id of an MQTT line

    def point(self, point_id: str) -> PointForm | None:
        """The well-formed point of this id."""
        return next((point for point in self.points.values() if point.id == point_id), None)

    def meter(self, meter_id: str) -> MeterForm | None:
        """The well-formed meter of this id."""
        return next((meter for meter in self.meters.values() if meter.id == meter_id), None)

    def way(self, line_id: str) -> LineForm | None:
        """The well-formed line of this id."""
        return next((line for line in self.ways.values() if line.id == line_id), None)

    def profile_of(self, meter_id: str) -> Profile | None:
        """The profile of a meter, where both are in order."""
        meter = self.meter(meter_id)
        return None if meter is None else self.profiles.get(meter.profile)


def draft_site(document: Mapping[str, Any], lines: TomlLines) -> tuple[SiteDraft, list[Problem]]:
    """(what is well-formed, every mistake of form)."""
    draft = SiteDraft(lines=lines)
    problems = [*_unknown_tables(document, lines)]
    draft.enterprises = _all(EnterpriseForm, document, "enterprise", lines, problems)
    draft.meters = _all(MeterForm, document, "meter", lines, problems)
    for place, point in _elements(document, "point", lines, problems):
        if "formula" in point:
            if (derived := _one(DerivedPointForm, point, place, lines, problems)) is not None:
                draft.derived[place] = derived
        elif (measured := _one(PointForm, point, place, lines, problems)) is not None:
            draft.points[place] = measured
    draft.accounts = _all(AccountForm, document, "account", lines, problems)
    draft.ways = _all_kinds(LINE_FORMS, document, "line", lines, problems)
    draft.sinks = _all_kinds(SINK_FORMS, document, "sink", lines, problems)
    draft.site = _one(SiteTable, document.get("site", {}), ("site",), lines, problems)
    store = {"kind": "embedded"} | _table(document, "store")
    draft.store = _kind(STORE_FORMS, store, ("store",), lines, problems) or draft.store
    draft.journal = _one(JournalForm, document.get("journal", {}), ("journal",), lines, problems) or draft.journal
    if "witness" in document:
        draft.witness = _kind(WITNESS_FORMS, _table(document, "witness"), ("witness",), lines, problems)
    draft.api = _one(ApiForm, document.get("api", {}), ("api",), lines, problems) or draft.api
    draft.metrics = _one(MetricsForm, document.get("metrics", {}), ("metrics",), lines, problems) or draft.metrics
    draft.settle = _one(SettleForm, document.get("settle", {}), ("settle",), lines, problems) or draft.settle
    draft.metrology = (
        _one(MetrologyForm, document.get("metrology", {}), ("metrology",), lines, problems) or draft.metrology
    )
    if "enterprise" not in document:
        problems.append(lines.problem(("enterprise",), "nothing", "at least one [[enterprise]]"))
    problems += _ids(document, draft)
    return draft, problems


def _unknown_tables(document: Mapping[str, Any], lines: TomlLines) -> Iterator[Problem]:
    for key in document:
        if key not in SiteForm.model_fields:
            known = f"one of {', '.join(SiteForm.model_fields)}"
            yield lines.problem((key,), f"the unknown table {key!r}", known, closest(key, SiteForm.model_fields))


def _elements(
    document: Mapping[str, Any], key: str, lines: TomlLines, problems: list[Problem]
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The elements of an array of tables; whatever else stands under its name is a mistake."""
    elements = document.get(key, [])
    if not isinstance(elements, list) or not all(isinstance(element, dict) for element in elements):
        problems.append(
            lines.problem((key,), shown(elements), f"tables [[{key}]]", f"Write [[{key}]] in double brackets.")
        )
        return
    for index, element in enumerate(elements):
        yield (key, index), element


def _all(
    form: type[_Form], document: Mapping[str, Any], key: str, lines: TomlLines, problems: list[Problem]
) -> dict[Place, _Form]:
    filled = {
        place: _one(form, element, place, lines, problems)
        for place, element in _elements(document, key, lines, problems)
    }
    return {place: element for place, element in filled.items() if element is not None}


def _table(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A single table; what else stands under its name has no keys and is told as such."""
    table = document.get(key, {})
    return table if isinstance(table, dict) else {"kind": table}


def _all_kinds(
    forms: Mapping[str, type[_Form]], document: Mapping[str, Any], key: str, lines: TomlLines, problems: list[Problem]
) -> dict[Place, _Form]:
    """As `_all`, where the element's `kind` picks the form."""
    filled = {
        place: _kind(forms, element, place, lines, problems)
        for place, element in _elements(document, key, lines, problems)
    }
    return {place: element for place, element in filled.items() if element is not None}


def _kind(
    forms: Mapping[str, type[_Form]], table: Mapping[str, Any], place: Place, lines: TomlLines, problems: list[Problem]
) -> _Form | None:
    kind = table.get("kind")
    form = forms.get(kind) if isinstance(kind, str) else None
    if form is None:
        found = "nothing" if kind is None else shown(kind)
        mend = "" if kind is None else closest(kind, forms)
        problems.append(lines.problem((*place, "kind"), found, f"one of {', '.join(forms)}", mend))
        return None
    return _one(form, table, place, lines, problems)


def _one(form: type[_Form], data: object, place: Place, lines: TomlLines, problems: list[Problem]) -> _Form | None:
    filled, wrong = fill(form, data, at=place, lines=lines)
    problems += wrong
    return filled


def _ids(document: Mapping[str, Any], draft: SiteDraft) -> Iterator[Problem]:
    """Collects all ids and tells those that are given twice."""
    for key in NAMED:
        seen = draft.ids.setdefault(key, {})
        for place, element in _elements(document, key, draft.lines, []):
            name = element.get("id")
            if not isinstance(name, str):
                continue
            if name in seen:
                before = draft.lines.line((*seen[name], "id"))
                yield draft.lines.problem(
                    (*place, "id"),
                    f"{shown(name)}, which is already used in line {before}",
                    f"an id of its own in [[{key}]]",
                )
            else:
                seen[name] = place
