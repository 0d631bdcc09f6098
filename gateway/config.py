"""Reads a site file: enterprises, lines, meters, metering points and accounts of one installation."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.destinations import journal_settings, sink_settings, store_settings
from gateway.domain.formulas import parse
from gateway.domain.quantities import QUANTITIES
from gateway.domain.readings import series_key
from gateway.domain.sites import (
    EMG,
    SPARKPLUG_B,
    Account,
    DerivedPoint,
    Enterprise,
    Line,
    LineKind,
    Meter,
    MeteringPoint,
    Series,
    Site,
)
from gateway.encoding import ONE
from gateway.errors import ConfigError
from gateway.line_form import FilesForm, LineForm, PolledForm
from gateway.payload_mapping import mapping_path
from gateway.profile import Profile
from gateway.site_checks import contradictions
from gateway.site_draft import SiteDraft, draft_site
from gateway.site_form import SiteForm, SiteTable
from gateway.toml_form import read_toml


def load_site(path: Path) -> Site:
    """The site that `path` declares, with every series of every point.

    Relative paths in it are taken from the folder of the file. Raises ConfigError with all mistakes at once,
    each with its line, what was found, what was expected, and how to mend it.
    """
    document, lines = read_toml(path)
    draft, problems = draft_site(document, lines)
    problems += contradictions(draft, path)
    if problems or draft.site is None:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.file != lines.file, problem.line or 0)))
    return _site(draft, draft.site, path)


def site_json_schema() -> dict[str, Any]:
    """The site file's form as a JSON Schema, for editors."""
    return SiteForm.model_json_schema()


def _site(draft: SiteDraft, table: SiteTable, path: Path) -> Site:
    folder = path.resolve().parent
    meters = {form.id: Meter(**form.model_dump()) for form in draft.meters.values()}
    points = {form.id: MeteringPoint(**form.model_dump()) for form in draft.points.values()}
    return Site(
        name=table.name,
        timezone=table.timezone,
        file=path,
        data_dir=folder / table.data_dir,
        gateway_id=table.gateway_id,
        enterprises={form.id: Enterprise(**form.model_dump()) for form in draft.enterprises.values()},
        lines={form.id: _line(form, table.gateway_id, folder) for form in draft.ways.values()},
        meters=meters,
        points=points,
        derived={
            form.id: DerivedPoint(**form.model_dump(), expression=parse(form.formula))
            for form in draft.derived.values()
        },
        accounts=tuple(
            Account(
                **form.model_dump(exclude={"plus", "minus", "stock"}),
                plus=tuple(form.plus),
                minus=tuple(form.minus),
                stock=tuple(form.stock),
            )
            for form in draft.accounts.values()
        ),
        series={series.key: series for series in _series(meters, points, draft.profiles)},
        store=store_settings(draft.store),
        sinks={form.id: sink_settings(form, table.gateway_id, folder) for form in draft.sinks.values()},
        journal=journal_settings(draft.journal, draft.witness, table.gateway_id, folder),
        api_host=draft.api.host,
        api_port=draft.api.port,
        metrics_listen=draft.metrics.listen or "",
        interval_s=draft.settle.interval_s,
        interpolate_within_s=draft.settle.interpolate_within_s,
        due_soon_days=draft.metrology.due_soon_days,
    )


def _line(form: LineForm, gateway_id: str, folder: Path) -> Line:
    """A line of the domain; keys that its kind does not use stay at their default."""
    if isinstance(form, FilesForm):
        return Line(id=form.id, kind=LineKind.FILES, folder=folder / form.folder, mapping=folder / form.mapping)
    given = form.model_dump(exclude={"kind"})
    if isinstance(form, PolledForm):
        return Line(kind=LineKind(form.kind), **given | _tls_files(given, folder))
    given["client_id"] = form.client_id or f"{gateway_id}-{form.id}"
    given["port"] = form.broker_port
    given |= _tls_files(given, folder)
    if form.payload not in {EMG, SPARKPLUG_B}:
        given["payload"] = str(mapping_path(form.payload, folder))
    return Line(kind=LineKind.MQTT, **given)


def _tls_files(given: Mapping[str, object], folder: Path) -> dict[str, str]:
    """The files for TLS that a form names, from the folder of the site file."""
    return {key: str(folder / str(name)) for key, name in given.items() if key.startswith("tls_") and name}


def _series(
    meters: dict[str, Meter], points: dict[str, MeteringPoint], profiles: dict[str, Profile]
) -> Iterator[Series]:
    """One series per register of each point's meter; counts stay as read, so the ratio enters the resolution."""
    for point in points.values():
        meter = meters.get(point.meter)
        if meter is None:
            continue
        profile = profiles[meter.profile]
        for quantity, found in profile.registers.items():
            ratio = meter.ratio(QUANTITIES[quantity].dimension) if profile.side == "secondary" else ONE
            resolution = found.register.resolution
            yield Series(
                key=series_key(point.enterprise, point.id, quantity),
                enterprise=point.enterprise,
                point=point.id,
                meter=meter.id,
                profile=meter.profile,
                register=found.register,
                resolution=None if resolution is None else resolution * ratio,
                ratio=ratio,
                by_hand=profile.by_hand,
            )
