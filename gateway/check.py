"""`emg check` and `emg init`: is the site file in order, what is measured by what, and on which proof it rests."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gateway.authority_files import missing_authorities
from gateway.command_line import console, print_json, run_app
from gateway.config import load_site
from gateway.domain.sites import DerivedPoint, Line, LineKind, Meter, Site
from gateway.errors import ConfigError, GatewayError, Problem, ProfileError
from gateway.journal.signing import load_key, make_key, private_file
from gateway.profile import Profile, load_profile, own_profiles, profile_names, site_profiles

SAMPLES = Path(__file__).parent / "samples"

check_app = typer.Typer(add_completion=False, rich_markup_mode=None)
init_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found in a site file: the site, or why there is none."""

    file: Path
    site: Site | None
    problems: tuple[Problem, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)  # those that its meters use

    @property
    def ok(self) -> bool:
        """True if there is nothing to mend."""
        return self.site is not None and not self.problems


def examine(site_file: Path) -> Examination:
    """Check a site file, the profiles it uses, their examples, and every profile kept beside it.

    Raises ConfigError when there is no such file.
    """
    if not site_file.is_file():
        load_site(site_file)
    try:
        site = load_site(site_file)
    except ConfigError as error:
        return Examination(file=site_file, site=None, problems=error.problems)
    problems = [*_unused_profiles(site), *missing_authorities(site)]
    return Examination(file=site_file, site=site, problems=tuple(problems), profiles=site_profiles(site))


def _unused_profiles(site: Site) -> Sequence[Problem]:
    """Mistakes in profiles of the installation that no meter uses yet."""
    extra_dir = own_profiles(site.file)
    used = {meter.profile for meter in site.meters.values()}
    problems: list[Problem] = []
    for name in profile_names(extra_dir=extra_dir) if extra_dir else ():
        if name not in used and (Path(extra_dir or "") / f"{name}.toml").is_file():
            try:
                load_profile(name, extra_dir=extra_dir)
            except ProfileError as error:
                problems += error.problems
    return problems


def as_json(found: Examination) -> dict[str, Any]:
    """The examination as one JSON object."""
    site = found.site
    return {
        "ok": found.ok,
        "file": str(found.file),
        "problems": [{**asdict(problem), "sentence": problem.sentence()} for problem in found.problems],
        "name": site.name if site else None,
        "lines": [_line_json(site, line) for line in site.lines.values()] if site else [],
        "meters": [_meter_json(site, meter) for meter in site.meters.values()] if site else [],
        "points": [_point_json(site, point_id) for point_id in site.points] if site else [],
        "derived": [_derived_json(point) for point in site.derived.values()] if site else [],
        "accounts": len(site.accounts) if site else 0,
        "series": len(site.series) if site else 0,
        "profiles": [_profile_json(profile) for profile in found.profiles.values()],
    }


def _line_json(site: Site, line: Line) -> dict[str, Any]:
    where = f"{line.serial_port} at {line.baud} baud" if line.kind.is_serial else f"{line.host}:{line.port}"
    return {
        "id": line.id,
        "kind": line.kind.value,
        "where": str(line.folder) if line.kind is LineKind.FILES else where,
        "period_s": str(line.period_s) if line.kind.is_polled else None,
        "meters": sum(meter.line == line.id for meter in site.meters.values()),
    }


def _meter_json(site: Site, meter: Meter) -> dict[str, Any]:
    points = [point.id for point in site.points.values() if point.meter == meter.id]
    return {
        "id": meter.id,
        "line": meter.line,
        "device_address": meter.asked_at if site.lines[meter.line].kind.is_polled else None,
        "profile": meter.profile,
        "serial": meter.serial,
        "point": points[0] if points else None,
    }


def _point_json(site: Site, point_id: str) -> dict[str, Any]:
    point = site.points[point_id]
    series = {series.register.quantity: series for series in site.series_of(point)}
    counting = series.get(point.counts)
    return {
        "id": point.id,
        "enterprise": point.enterprise,
        "carrier": point.carrier.value,
        "level": point.level.value,
        "role": point.role.value,
        "parent": point.parent,
        "meter": point.meter,
        "counts": point.counts,
        "unit": counting.register.unit if counting else None,
        "resolution": str(counting.resolution) if counting and counting.resolution is not None else None,
        "series": len(series),
    }


def _derived_json(point: DerivedPoint) -> dict[str, Any]:
    return {"id": point.id, "enterprise": point.enterprise, "formula": point.formula, "unit": point.unit}


def _profile_json(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "maker": profile.maker,
        "model": profile.model,
        "source": profile.source,
        "basis": sorted(profile.basis),
        "examples": len(profile.examples),
        "registers": len(profile.registers),
        "not_exemplified": list(profile.not_exemplified),
        "presupposes": list(profile.presupposes),
    }


# Part of the answer -> its title, the key of its first column, its columns.
_TABLES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "lines": ("Lines", "id", ("line", "kind", "where", "period_s", "meters")),
    "meters": ("Meters", "id", ("meter", "line", "device_address", "profile", "point")),
    "points": (
        "Metering points",
        "id",
        ("point", "carrier", "level", "role", "parent", "counts", "resolution", "unit", "series"),
    ),
    "derived": ("Points worked out from others", "id", ("point", "formula", "unit", "enterprise")),
    "profiles": (
        "Profiles and the proof they rest on",
        "name",
        ("profile", "basis", "examples", "registers", "not_exemplified"),
    ),
}


def show(found: Examination) -> None:
    """Print the examination as tables and sentences."""
    out = console()
    if found.site is not None:
        answer = as_json(found)
        for key, (title, first, columns) in _TABLES.items():
            if answer[key] or key != "derived":
                out.print(_table(title, columns, answer[key], first))
        for profile in found.profiles.values():
            for setting in profile.presupposes:
                out.print(f"{profile.name} presupposes: {setting}", markup=False, highlight=False, soft_wrap=True)
    for problem in found.problems:
        out.print(problem.sentence(), markup=False, highlight=False, soft_wrap=True)
    out.print(_summary(found), markup=False, highlight=False, soft_wrap=True)


def _table(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], first: str) -> Table:
    """A table of rows; its first column is the key `first` of each."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        heading = column.replace("_s", " [s]") if column.endswith("_s") else column.replace("_", " ")
        table.add_column(escape(heading), overflow="fold")
    for row in rows:
        cells = [row[first], *(row[column] for column in columns[1:])]
        texts = ("" if cell is None else ", ".join(cell) if isinstance(cell, list) else str(cell) for cell in cells)
        table.add_row(*(escape(text) for text in texts))
    return table


def _summary(found: Examination) -> str:
    if found.site is None or found.problems:
        count = len(found.problems)
        return f"{found.file}: {count} {'mistake' if count == 1 else 'mistakes'} to mend"
    site = found.site
    return (
        f"{found.file}: in order: {len(site.enterprises)} enterprise(s), {len(site.lines)} lines, "
        f"{len(site.meters)} meters, {len(site.points)} points, {len(site.series)} series, "
        f"{len(site.accounts)} accounts"
    )


@check_app.command()
def check(
    site: Annotated[Path, typer.Argument(help="The site file, e.g. site.toml.")],
    as_one_object: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a site file, the profiles it uses and their examples. Exit code 1 when something is to mend."""
    found = examine(site)
    if as_one_object:
        print_json(as_json(found))
    else:
        show(found)
    if not found.ok:
        raise typer.Exit(1)


@init_app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The folder that gets the sample files.")],
    as_one_object: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a commented sample site into a folder, and the key that signs its journal; nothing is overwritten."""
    written = write_sample(folder)
    data_dir = load_site(folder / "site.toml").data_dir
    key = load_key(data_dir) if private_file(data_dir).exists() else make_key(data_dir)
    if as_one_object:
        told = {"file": str(private_file(data_dir)), "key": key.id, "public": key.public.hex()}
        print_json({"written": [str(path) for path in written], "journal_key": told})
        return
    for path in written:
        typer.echo(f"written: {path}")
    typer.echo(f"the journal will be signed with key {key.id}; keep a copy of {private_file(data_dir)}")
    typer.echo(f"Change it to your plant, then run: emg check {folder / 'site.toml'}")


def write_sample(folder: Path) -> list[Path]:
    """Copy the sample site into `folder`. Raises GatewayError, with nothing written, when a file is there already."""
    samples = sorted(SAMPLES.glob("*.toml"))
    for sample in samples:
        target = folder / sample.name
        if target.exists():
            raise GatewayError(f"{target}: found a file of this name; expected none. Name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copyfile(sample, folder / sample.name)) for sample in samples]
    except OSError as error:
        raise GatewayError(f"{folder}: the sample cannot be written: {error.strerror or error}") from error


def check_main(argv: list[str]) -> int:
    """`emg check SITE`: 0 in order, 1 something to mend, 2 no such file."""
    return run_app(check_app, argv, "emg check")


def init_main(argv: list[str]) -> int:
    """`emg init DIR`: 0 written, 2 nothing written."""
    return run_app(init_app, argv, "emg init")
